package contract

import "strings"

// SplitList splits a comma-separated annotation or flag. Commas inside braces
// belong to a glob's alternatives ("*.{jpg,png}") and do not split. Blanks
// around an element and empty elements are dropped.
func SplitList(s string) []string {
	var list []string
	depth, start := 0, 0
	add := func(part string) {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++ // the next byte is literal
		case '{':
			depth++
		case '}':
			depth = max(depth-1, 0)
		case ',':
			if depth == 0 {
				add(s[start:i])
				start = i + 1
			}
		}
	}
	add(s[min(start, len(s)):])
	return list
}
