package record

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// s is a file's state with a content of its own.
func s(n uint64) State { return State{Kind: File, Perm: 0o644, Size: 1, Sum: Sum{A: n}} }

var (
	gone  = State{}
	plain = State{Kind: Dir, Perm: PlainDir}
	shut  = State{Kind: Dir, Perm: 0o700}
)

// A play is what happens: "a" is at 1, then acknowledged, then 2 …
type play struct {
	*Record
	t *testing.T
}

func begin(t *testing.T) play { return play{New(), t} }

func (p play) was(path string, states ...State) play {
	for _, state := range states {
		p.Was(0, path, state, "test")
	}
	return p
}

func (p play) moved(from, to string) play { p.Moved(0, from, to, "renamed"); return p }
func (p play) ack() play                  { p.Acknowledge(0, p.Now(), "ack"); return p }

type found = map[string]State

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		play  play
		found found
		wrong string // path: a part of what is said of it; empty if all is well
	}{
		"nothing":                {begin(t), found{}, ""},
		"acknowledged":           {begin(t).was("a", s(1)).ack(), found{"a": s(1)}, ""},
		"lost":                   {begin(t).was("a", s(1)).ack(), found{}, "a: lost"},
		"not yet acknowledged":   {begin(t).was("a", s(1)), found{}, ""},
		"ahead":                  {begin(t).was("a", s(1)), found{"a": s(1)}, ""},
		"later":                  {begin(t).was("a", s(1)).ack().was("a", s(2), s(3)), found{"a": s(2)}, ""},
		"kept":                   {begin(t).was("a", s(1)).ack().was("a", s(2), s(3)), found{"a": s(1)}, ""},
		"older":                  {begin(t).was("a", s(1), s(2)).ack(), found{"a": s(1)}, "a: older"},
		"torn":                   {begin(t).was("a", s(1), s(2)).ack(), found{"a": s(3)}, "a: torn"},
		"torn attributes":        {begin(t).was("a", s(1)).ack(), found{"a": {Kind: File, Perm: 0o600, Size: 1, Sum: Sum{A: 1}}}, "a: attributes"},
		"unknown":                {begin(t), found{"a": s(1)}, "a: it never was"},
		"conflict copy":          {begin(t).was("a.b", s(1)).ack(), found{"a.b": s(1), "a.conflict-vm-1-20261123T210903.567Z.b": s(1)}, "a.conflict-vm-1-20261123T210903.567Z.b: a conflict"},
		"deleted":                {begin(t).was("a", s(1)).ack().was("a", gone), found{}, ""},
		"deletion on its way":    {begin(t).was("a", s(1)).ack().was("a", gone), found{"a": s(1)}, ""},
		"resurrected":            {begin(t).was("a", s(1), gone).ack(), found{"a": s(1)}, "a: resurrected"},
		"made again":             {begin(t).was("a", s(1), gone).ack().was("a", s(2)), found{"a": s(2)}, ""},
		"made again, old one":    {begin(t).was("a", s(1), gone).ack().was("a", s(2)), found{"a": s(1)}, "a: older"},
		"renamed":                {begin(t).was("a", s(1)).ack().moved("a", "b"), found{"b": s(1)}, ""},
		"rename not begun":       {begin(t).was("a", s(1)).ack().moved("a", "b"), found{"a": s(1)}, ""},
		"rename half done":       {begin(t).was("a", s(1)).ack().moved("a", "b"), found{"a": s(1), "b": s(1)}, ""},
		"renamed and lost":       {begin(t).was("a", s(1)).ack().moved("a", "b"), found{}, "a: renamed, and lost"},
		"renamed twice":          {begin(t).was("a", s(1)).ack().moved("a", "b").moved("b", "c"), found{"c": s(1)}, ""},
		"renamed twice, lost":    {begin(t).was("a", s(1)).ack().moved("a", "b").moved("b", "c"), found{}, "a: renamed, and lost"},
		"renamed and changed":    {begin(t).was("a", s(1)).ack().moved("a", "b").was("b", s(2)), found{"b": s(2)}, ""},
		"renamed and deleted":    {begin(t).was("a", s(1)).ack().moved("a", "b").was("b", gone), found{}, ""},
		"renamed over":           {begin(t).was("a", s(1)).was("b", s(2)).ack().moved("a", "b"), found{"b": s(1)}, ""},
		"renamed over, half":     {begin(t).was("a", s(1)).was("b", s(2)).ack().moved("a", "b"), found{"a": s(1), "b": s(2)}, ""},
		"renamed over, lost":     {begin(t).was("a", s(1)).was("b", s(2)).ack().moved("a", "b"), found{"b": s(2)}, "a: renamed, and lost"},
		"renamed, acknowledged":  {begin(t).was("a", s(1)).moved("a", "b").ack(), found{"b": s(1)}, ""},
		"folder":                 {begin(t).was("d", plain).ack(), found{"d": plain}, ""},
		"folder lost":            {begin(t).was("d", plain).ack(), found{}, "d: lost"},
		"folder's mode":          {begin(t).was("d", shut).was("d/f", s(1)).ack(), found{"d": plain, "d/f": s(1)}, "d: attributes"},
		"folder by what is in":   {begin(t).was("d", shut).was("d/f", s(1)), found{"d": plain, "d/f": s(1)}, ""},
		"folder's object gone":   {begin(t).was("d", shut).was("d/f", s(1)).ack().was("d/f", gone).was("d", gone), found{"d": plain, "d/f": s(1)}, ""},
		"file became folder":     {begin(t).was("a", s(1)).ack().was("a", gone, plain).was("a/f", s(2)), found{"a": plain, "a/f": s(2)}, ""},
		"file and folder mixed":  {begin(t).was("a", s(1)).ack().was("a", gone, plain).was("a/f", s(2)), found{}, ""},
		"acknowledged in middle": {begin(t).was("a", s(1)).ack().was("a", s(2)).was("b", s(1)).ack().was("a", s(3)), found{"a": s(1), "b": s(1)}, "a: older"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, c.play.Check(c.found), c.wrong)
			for _, v := range c.play.Check(c.found) {
				if story := c.play.Story(v.Path); !strings.Contains(story, "acknowledged") && !strings.Contains(story, "nothing") {
					t.Errorf("a story without its point:\n%s", story)
				}
			}
		})
	}
}

func expect(t *testing.T, got []Violation, wrong string) {
	t.Helper()
	if wrong == "" {
		if len(got) > 0 {
			t.Errorf("is well, but: %v", got)
		}
		return
	}
	path, what, _ := strings.Cut(wrong, ": ")
	if len(got) != 1 || got[0].Path != path || !strings.Contains(got[0].What, what) {
		t.Errorf("got %v, want %s", got, wrong)
	}
}

func TestRecovered(t *testing.T) {
	const aside = "a.conflict-vm-1-20261123T210903.567Z"
	for name, c := range map[string]struct {
		play  play
		found found
		wrong string
	}{
		"as it was":                {begin(t).was("a", s(1)).ack().was("a", s(2)), found{"a": s(2)}, ""},
		"gone":                     {begin(t).was("a", s(1)), found{}, "a: gone"},
		"deletion undone":          {begin(t).was("a", s(1)).ack().was("a", gone), found{"a": s(1)}, ""},
		"acknowledged one undone":  {begin(t).was("a", s(1), gone).ack(), found{"a": s(1)}, "a: resurrected"},
		"with a copy":              {begin(t).was("a", s(1)).ack().was("a", s(2)), found{"a": s(2), aside: s(1)}, ""},
		"with the other as copy":   {begin(t).was("a", s(1)).ack().was("a", s(2)), found{"a": s(1), aside: s(2)}, ""},
		"change lost":              {begin(t).was("a", s(1)).ack().was("a", s(2)), found{"a": s(1)}, "a: the volume held"},
		"a copy of something else": {begin(t).was("a", s(1)).ack().was("a", s(2)), found{"a": s(2), aside: s(3)}, aside + ": a conflict copy of what"},
		"a folder's mode":          {begin(t).was("a", plain).ack().was("a", shut), found{"a": plain}, ""},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.play.Recovered(c.found), c.wrong) })
	}
}

func TestWholeAndForget(t *testing.T) {
	p := begin(t).was("a", s(1), s(2)).was("b", s(1), gone).ack()
	for _, n := range []uint64{1, 2} {
		if v := p.Whole("a", s(n)); v != nil {
			t.Errorf("a was %d: %v", n, v)
		}
	}
	if p.Whole("a", s(3)) == nil || p.Whole("c", s(1)) == nil {
		t.Error("what never was passes for whole")
	}
	p.Forget()
	if p.Whole("a", s(1)) == nil || p.Whole("a", s(2)) != nil {
		t.Error("the past is remembered, or the present forgotten")
	}
	expect(t, p.Check(found{"a": s(2)}), "")
	expect(t, p.Check(found{"a": s(2), "b": s(1)}), "b: resurrected")
	if !p.EverWas("b", File) {
		t.Error("what kinds a path had is forgotten")
	}
}

func TestBecame(t *testing.T) {
	p := begin(t).was("a", s(1)).was("b", s(1)).ack().was("a", s(2)).was("c", s(3))
	p.Became(time.Second, found{"a": s(1), "b": s(1)}, "restored")
	expect(t, p.Check(found{"a": s(1), "b": s(1)}), "")
	expect(t, p.Check(found{"a": s(2), "b": s(1)}), "a: older")
	expect(t, p.Equal(found{"a": s(1), "b": s(1)}), "")
	if !p.Acknowledged() {
		t.Error("a restore leaves nothing to be acknowledged")
	}
	if p.was("a", s(4)); p.Acknowledged() {
		t.Error("a change needs no acknowledgement")
	}
}

func TestSwapped(t *testing.T) {
	p := begin(t).was("a", s(1), gone, plain)
	if !p.Swapped() {
		t.Error("a swap is not noticed")
	}
	if p.ack(); p.Swapped() {
		t.Error("an acknowledged swap is none any more")
	}
}

func TestOriginal(t *testing.T) {
	for path, want := range map[string]string{
		"a/b.conflict-vm-4083e4a1-20261123T210903.567Z.txt": "a/b.txt",
		"100%.conflict-vm-4083e4a1-20261123T210903.567Z":    "100%",
		"a.conflict-b/c": "", "a": "",
	} {
		if got, ok := Original(path); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %t", path, got, ok)
		}
	}
}

// However a content came to be, its sum is the one of its bytes.
func TestContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := NewContent(nil)
		var want []byte
		for id := range rapid.IntRange(1, 8).Draw(t, "writes") {
			b := make([]byte, rapid.IntRange(1, 3*Page).Draw(t, "size"))
			at := rapid.IntRange(0, len(want)+Page).Draw(t, "at")
			Fill(b, id, int64(at))
			c.WriteAt(b, at)
			if grow := at + len(b) - len(want); grow > 0 {
				want = append(want, make([]byte, grow)...)
			}
			copy(want[at:], b)
			if c.Sum() != SumOf(want) || string(c.Bytes) != string(want) {
				t.Fatalf("after write %d of %d bytes at %d", id, len(b), at)
			}
		}
		var h Hasher
		for rest := want; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 2*Page).Draw(t, "piece"))
			h.Write(rest[:n])
			rest = rest[n:]
		}
		if sum, size := h.Sum(); sum != c.Sum() || size != int64(len(want)) {
			t.Fatal("taken in pieces it has another sum")
		}
	})
}

func TestExplain(t *testing.T) {
	b := make([]byte, 3*Page)
	Fill(b[:2*Page], 7, 0)
	Fill(b[Page:Page+100], 8, Page)
	for _, part := range []string{"[0,4096) write 7", "write 8", "[8192,12288) zeroes"} {
		if got := Explain(strings.NewReader(string(b))); !strings.Contains(got, part) {
			t.Errorf("%q is missing in %s", part, got)
		}
	}
	if got := Explain(strings.NewReader(string(b[64:]))); !strings.Contains(got, "out of place") {
		t.Errorf("a shifted content: %s", got)
	}
	if got := Explain(strings.NewReader("hello, this is something else")); got != "[0,29) foreign bytes" {
		t.Error(got)
	}
}
