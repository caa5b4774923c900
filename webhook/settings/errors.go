package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/minio-sidecar/minio-sidecar/pkg/contract"
)

// Error is one thing that a person has to change.
type Error struct {
	Key     string // without the prefix
	Value   string // empty where the key itself is the problem
	Allowed string // what is wrong and what is allowed, the sentence's second half
	Nearest string // what was probably meant; may be empty
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(contract.AnnotationPrefix + e.Key)
	if e.Value != "" {
		b.WriteString(" " + strconv.Quote(e.Value))
	}
	b.WriteString(" " + e.Allowed)
	if e.Nearest != "" {
		b.WriteString(" (did you mean " + strconv.Quote(e.Nearest) + "?)")
	}
	return b.String()
}

// at completes an error that a parser made, which knows neither.
func (e *Error) at(key, value string) *Error {
	e.Key, e.Value = key, value
	if value == "" {
		e.Allowed = "is empty: it " + e.Allowed
	}
	return e
}

// Errors are all that is wrong with one pod: whoever fixes one mistake should
// not have to come back for the next.
type Errors []Error

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, problem := range e {
		texts[i] = problem.Error()
	}
	return strings.Join(texts, "; ")
}

// must is a parser's error: the value "must be …".
func must(format string, args ...any) error {
	return &Error{Allowed: "must be " + fmt.Sprintf(format, args...)}
}

// cannot is a parser's error: the value "cannot …" for this pod.
func cannot(text string) error { return &Error{Allowed: "cannot " + text} }

// asError unpacks a parser's error.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Allowed: err.Error()}
}

func unknown(key string, known []string) Error {
	e := Error{Key: key, Allowed: "is not known; the keys are " + strings.Join(known, ", ")}
	if near := nearest(key, known); near != "" {
		e.Allowed = "is not known"
		e.Nearest = contract.AnnotationPrefix + near
	}
	return e
}

// oneOf checks a value against the few that are allowed.
func oneOf(value string, allowed ...string) error {
	quoted := make([]string, len(allowed))
	for i, a := range allowed {
		if a == value {
			return nil
		}
		quoted[i] = strconv.Quote(a)
	}
	last := len(quoted) - 1
	list := quoted[last]
	if last > 0 {
		list = strings.Join(quoted[:last], ", ") + " or " + list
	}
	return &Error{Allowed: "must be " + list, Nearest: nearest(value, allowed)}
}

// nearest is the candidate that differs from word by the fewest typing mistakes
// (a character too many, too few, wrong, or swapped with its neighbour), or
// empty if that would be a guess.
func nearest(word string, candidates []string) string {
	best, fewest := "", 3 // more than two mistakes are another word
	for _, candidate := range candidates {
		d := distance(strings.ToLower(word), candidate)
		if d < fewest && d < len(candidate)/2+1 {
			best, fewest = candidate, d
		}
	}
	return best
}

// distance is the optimal string alignment distance.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			wrong := 0
			if a[i-1] != b[j-1] {
				wrong = 1
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
