package target

type query struct{}
