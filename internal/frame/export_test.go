package frame

// NameNumber, NameCount and Names expose the frozen list of names.
func NameNumber(name string) uint64 { return nameNumber[name] }

func NameCount() int { return len(names) }

func Names() []string { return names }
