// Package house holds what no compiler checks: the import rules over
// everything that is linked, and that the documentation says what is so. It
// consists of tests.
package house
