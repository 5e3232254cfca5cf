package fleet

// HashOf is the hash of a token as callers give it.
func HashOf(token string) [32]byte { return [32]byte(hashToken(token)) }
