package s3

import (
	"testing"
	"time"
)

// A name counts as clear for a while, if nothing happened to it since the
// store was asked.
func TestClearNames(t *testing.T) {
	now := time.Now()
	var c clearNames
	if c.has("a", now) {
		t.Error("clear, and nobody asked")
	}
	clear := c.begin("a", now)
	if c.has("a", now) {
		t.Error("clear before the store answered")
	}
	clear()
	if !c.has("a", now) || !c.has("a", now.Add(clearFor-1)) {
		t.Error("not clear, but was found so")
	}
	if c.has("a", now.Add(clearFor)) {
		t.Error("clear for ever: another writer may have been there")
	}

	clear = c.begin("a", now)
	c.forget("a") // a file was written while the question was on its way
	clear()
	if c.has("a", now) {
		t.Error("clear by an answer from before the last change")
	}
	c.begin("a", now)()
	c.forget("a")
	if c.has("a", now) {
		t.Error("clear after a change")
	}
}
