package dirty

// NewHolding is New with room for fewer held deletions.
func NewHolding(limit, heldMax int) *Set {
	s := New(limit, RestlessAfter)
	s.heldMax = heldMax
	return s
}
