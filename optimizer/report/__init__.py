"""report.html: one self-contained page that says what a what-if found."""
