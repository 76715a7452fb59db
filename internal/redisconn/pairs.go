package redisconn

// Pairs reads an answer that is a map in RESP3, and a list of names and values in
// RESP2. Of anything else it has nothing.
func Pairs(answer any) map[string]any {
	all := map[string]any{}
	switch answer := answer.(type) {
	case map[any]any:
		for name, value := range answer {
			if name, ok := name.(string); ok {
				all[name] = value
			}
		}
	case []any:
		for i := 0; i+1 < len(answer); i += 2 {
			if name, ok := answer[i].(string); ok {
				all[name] = answer[i+1]
			}
		}
	}
	return all
}
