package sqltext

// Number returns a bool as the tables have it, on databases with a type for it and without.
func Number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// OrNull returns a text, and nil, which is NULL, if it is empty.
func OrNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
