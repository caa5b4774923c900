package record

import (
	"slices"
	"strings"
	"testing"
)

// A sharing is what several do to one path: a's volume had nothing, and it
// made state 1 of that …
type sharing struct {
	*Shared
	now   map[string]Moment
	acked map[string]Moment
}

func together() sharing {
	return sharing{NewShared(), map[string]Moment{}, map[string]Moment{}}
}

func (p sharing) wrote(writer, path string, before, after State) sharing {
	p.now[writer]++
	p.Wrote(0, writer, p.now[writer], path, before, after)
	return p
}

func (p sharing) ack(writers ...string) sharing {
	for _, w := range writers {
		p.acked[w] = p.now[w]
	}
	return p
}

func (p sharing) lost(writer string) sharing { p.Lost(writer, p.acked[writer]); return p }

func (p sharing) agreed(f found) sharing { p.Agreed(f); return p }

func TestSharedCheck(t *testing.T) {
	const aside, other = "p.conflict-vm-1-20261123T210903.567Z", "p.conflict-vm-2-20261123T210903.567Z"
	one := found{"p": s(1)}
	for name, c := range map[string]struct {
		play  sharing
		found found
		wrong string // path: a part of what is said of it; empty if all is well
	}{
		"nothing":                  {together(), found{}, ""},
		"written":                  {together().wrote("a", "p", gone, s(1)).ack("a"), one, ""},
		"not yet acknowledged":     {together().wrote("a", "p", gone, s(1)), found{}, ""},
		"lost":                     {together().wrote("a", "p", gone, s(1)).ack("a"), found{}, "p: lost"},
		"foreign":                  {together().wrote("a", "p", gone, s(1)).ack("a"), found{"p": s(1), "q": s(2)}, "q: nobody"},
		"torn":                     {together().wrote("a", "p", gone, s(1)), found{"p": s(2)}, "p: nobody"},
		"torn attributes":          {together().wrote("a", "p", gone, s(1)), found{"p": {Kind: File, Perm: 0o600, Size: 1, Sum: Sum{A: 1}}}, "p: attributes"},
		"followed":                 {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).ack("a", "b"), found{"p": s(2)}, ""},
		"followed, first not said": {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).ack("b"), found{"p": s(2)}, ""},
		"followed, not arrived":    {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).ack("a"), one, ""},
		"followed, both lost":      {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).ack("a"), found{}, "p: lost: acknowledged to a"},
		"overwritten blindly":      {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).ack("a", "b"), found{"p": s(2)}, "p: lost: acknowledged to a"},
		"both kept":                {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).ack("a", "b"), found{"p": s(2), aside: s(1)}, ""},
		"both kept, other way":     {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).ack("a", "b"), found{"p": s(1), aside: s(2)}, ""},
		"three kept, copy of copy": {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).wrote("c", "p", gone, s(3)).ack("a", "b", "c"),
			found{"p": s(3), aside: s(2), "p.conflict-vm-1-20261123T210903.conflict-vm-1-20261123T210904.100Z.567Z": s(1)}, ""},
		"a copy of nothing":        {together().wrote("a", "p", gone, s(1)).ack("a"), found{"p": s(1), aside: s(3)}, aside + ": nobody"},
		"a copy too many":          {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).ack("a", "b"), found{"p": s(2), aside: s(1)}, ""},
		"three":                    {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).wrote("c", "p", s(1), s(3)).ack("a", "b", "c"), found{"p": s(3), aside: s(2)}, ""},
		"three, one overwritten":   {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), s(2)).wrote("c", "p", s(1), s(3)).ack("a", "b", "c"), found{"p": s(3)}, "p: lost: acknowledged to b"},
		"three, all kept":          {together().wrote("a", "p", gone, s(1)).wrote("b", "p", gone, s(2)).wrote("c", "p", gone, s(3)).ack("a", "b", "c"), found{"p": s(3), aside: s(2), other: s(1)}, ""},
		"deleted":                  {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), gone).ack("a", "b"), found{}, ""},
		"deleted by who had less":  {together().wrote("a", "p", gone, s(1)).wrote("a", "p", s(1), s(2)).wrote("b", "p", s(1), gone).ack("a", "b"), found{}, "p: lost: acknowledged to a"},
		"an edit beats that":       {together().agreed(one).wrote("a", "p", s(1), s(2)).wrote("b", "p", s(1), gone).ack("a", "b"), found{"p": s(2)}, ""},
		"agreed":                   {together().agreed(one), one, ""},
		"agreed and lost":          {together().agreed(one), found{}, "p: lost: acknowledged to all"},
		"agreed, on its way":       {together().agreed(one).wrote("b", "p", s(1), gone), one, ""},
		"resurrected":              {together().agreed(one).wrote("b", "p", s(1), gone).ack("b"), one, "p: came back"},
		"resurrected, one is new":  {together().agreed(one).wrote("b", "p", s(1), gone).ack("b").lost("a"), one, "p: came back"},
		"overwritten by the past":  {together().agreed(one).wrote("b", "p", s(1), s(2)).ack("b"), found{"p": s(1), aside: s(2)}, "p: came back"},
		"written anew":             {together().agreed(one).wrote("b", "p", s(1), gone).wrote("b", "p", gone, s(2)).ack("b"), found{"p": s(2)}, ""},
		"deleted before agreement": {together().wrote("a", "p", gone, s(1)).wrote("b", "p", s(1), gone).ack("a", "b"), one, ""}, // of which a killed one may not know
		"an old copy stays":        {together().agreed(found{"p": s(1), aside: s(2)}), one, aside + ": lost"},
		"a node lost":              {together().wrote("a", "p", gone, s(1)).lost("a").ack("a"), found{}, ""},
		"a node lost, arrived":     {together().wrote("a", "p", gone, s(1)).lost("a").ack("a"), one, ""},
		"a node lost, lost":        {together().wrote("a", "p", gone, s(1)).ack("a").lost("a"), found{}, "p: lost: acknowledged to a"},
		"an old copy is deleted":   {together().agreed(found{"p": s(1), aside: s(2)}).wrote("a", aside, s(2), gone).ack("a"), one, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.play.Check(c.found, c.play.acked)
			expect(t, got, c.wrong)
			for _, v := range got {
				if story := c.play.Story(v.Path); !strings.Contains(story, "p") && !strings.Contains(story, "nothing") {
					t.Errorf("a story without its point:\n%s", story)
				}
			}
		})
	}
}

// What was a conflict copy when all agreed is a file like others from then on,
// and no place where a later conflict is kept.
func TestOldCopies(t *testing.T) {
	const aside = "p.conflict-vm-1-20261123T210903.567Z"
	p := together().agreed(found{"p": s(1), aside: s(2)}).wrote("a", "p", s(1), s(3)).ack("a")
	got := p.Check(found{"p": s(1), aside: s(3)}, p.acked)
	for _, path := range []string{"p", aside} {
		if !slices.ContainsFunc(got, func(v Violation) bool { return v.Path == path }) {
			t.Errorf("%s is well; only this is not: %v", path, got)
		}
	}
}

func TestSharedPaths(t *testing.T) {
	p := together().agreed(found{"b": s(1), "a": s(2)}).wrote("a", "c", gone, s(3))
	if got := p.Paths(); len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("agreed on %q", got)
	}
}
