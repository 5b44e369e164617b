// Package parent ends a program whose parent is gone, so that no control plane outlives its test.
package parent

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// Watch exits the process soon after process CONTROL_PLANE_PARENT is no longer its parent.
// Without that variable it does nothing.
func Watch() {
	parent, err := strconv.Atoi(os.Getenv("CONTROL_PLANE_PARENT"))
	if err != nil {
		return
	}
	go func() {
		for os.Getppid() == parent {
			time.Sleep(500 * time.Millisecond)
		}
		fmt.Fprintln(os.Stderr, "the parent process is gone: exiting")
		os.Exit(1)
	}()
}
