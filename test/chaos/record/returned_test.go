package record

import "testing"

func (p play) forget() play { p.Forget(); return p }

func TestReturned(t *testing.T) {
	const aside = "a.conflict-vm-1-20261123T210903.567Z"
	for name, c := range map[string]struct {
		play  play
		found found
		wrong string
	}{
		"nothing":                 {begin(t), found{}, ""},
		"deleted since":           {begin(t).ack().forget().was("a", s(1), gone).ack(), found{"a": s(1)}, ""},
		"deleted, agreed before":  {begin(t).was("a", s(1)).ack().forget().was("a", gone).ack(), found{"a": s(1)}, "a: is not"},
		"deleted, changed since":  {begin(t).was("a", s(1)).ack().forget().was("a", s(2), gone).ack(), found{"a": s(2)}, ""},
		"deleted, with folder":    {begin(t).was("d", plain).ack().forget().was("d/a", s(1), gone).was("d", gone).ack(), found{"d": plain, "d/a": s(1)}, ""},
		"a folder for nothing":    {begin(t).was("d", plain).ack().forget().was("d", gone).ack(), found{"d": plain}, "d: is not"},
		"overwritten":             {begin(t).ack().forget().was("a", s(1), s(2)).ack(), found{"a": s(1)}, "a: is not"},
		"overwritten, both kept":  {begin(t).ack().forget().was("a", s(1), s(2)).ack(), found{"a": s(1), aside: s(2)}, ""},
		"the other way":           {begin(t).ack().forget().was("a", s(1), s(2)).ack(), found{"a": s(2), aside: s(1)}, ""},
		"lost":                    {begin(t).ack().forget().was("a", s(1)).ack(), found{}, "a: is not"},
		"torn":                    {begin(t).ack().forget().was("a", s(1), gone).ack(), found{"a": s(2)}, "a: is not"},
		"a copy of what was not":  {begin(t).ack().forget().was("a", s(1)).ack(), found{"a": s(1), aside: s(2)}, aside + ": is not"},
		"a copy of what all know": {begin(t).was("a", s(1)).ack().forget().was("a", s(2)).ack(), found{"a": s(2), aside: s(1)}, aside + ": is not"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.play.Returned(c.play.Equal(c.found), c.found, false), c.wrong) })
	}
	p := begin(t).was("a", s(1)).was("b", s(1)).ack().forget().was("a", gone).ack()
	f := found{"a": s(1), "b": s(2)}
	expect(t, p.Returned(p.Equal(f), f, true), "b: is not")
}
