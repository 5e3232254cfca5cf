package frame

// Words and DictionaryText expose the frozen dictionary.
func Words() []string { return dict.words }

func DictionaryText() string { return dictionaryText }
