// Command karpenter is the real Karpenter with its KWOK provider: what its kwok/main.go builds,
// without the image. Instance types and prices come from the file INSTANCE_TYPES_FILE_PATH.
package main

import (
	"fmt"
	"os"

	kwok "sigs.k8s.io/karpenter/kwok/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/overlay"
	"sigs.k8s.io/karpenter/pkg/controllers"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	"sigs.k8s.io/karpenter/pkg/operator"

	"trimtab.dev/tests/controlplane/internal/parent"
)

func main() {
	parent.Watch()
	ctx, op := operator.NewOperator()
	types, err := kwok.ConstructInstanceTypes(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "karpenter: instance types:", err)
		os.Exit(1)
	}
	client, store := op.GetClient(), op.InstanceTypeStore
	provider := kwok.NewCloudProvider(ctx, client, types)
	overlaid := overlay.Decorate(provider, client, store)
	cluster := state.NewCluster(op.Clock, client, overlaid)
	all := controllers.NewControllers(ctx, op.Manager, op.Clock, client, op.EventRecorder, overlaid, provider, cluster, store)
	op.WithControllers(ctx, all...).Start(ctx)
}
