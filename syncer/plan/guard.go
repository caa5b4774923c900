package plan

// The mass-delete guard. The numbers are a judgement: below 100 entries half
// of them is an ordinary clean-up, and a spool that a program empties file by
// file is its daily work; a volume of ten files and more that is gone whole
// is an accident until a person says otherwise.
const (
	guardHalfFrom       = 100
	guardEverythingFrom = 10
)

// Batch is a set of deletions that would be applied together.
type Batch struct {
	Deletes int64 // how many entries would go
	Total   int64 // how many entries of the base take part
	// Witnessed: each was seen to happen as a file event; false where a scan
	// found the entries missing, or where the reserved folder went with them.
	Witnessed bool
}

// Suspicious reports whether the batch looks like an emptied, unmounted or
// replaced directory rather than a person's or program's intent.
func Suspicious(b Batch) bool {
	switch {
	case b.Deletes == 0:
		return false
	case b.Deletes >= b.Total:
		return b.Deletes >= guardEverythingFrom || !b.Witnessed
	case b.Total >= guardHalfFrom:
		return 2*b.Deletes > b.Total
	}
	return false
}
