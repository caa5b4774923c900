package patch_test

import (
	"encoding/json"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	"github.com/minio-sidecar/minio-sidecar/webhook/patch"
)

func decode(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBetween(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"equal":          {`{"a":[1,{"name":"x"}]}`, `{"a":[1,{"name":"x"}]}`, `null`},
		"new key":        {`{}`, `{"a":1}`, `[{"op":"add","path":"/a","value":1}]`},
		"key with slash": {`{"m":{"x":"1"}}`, `{"m":{"x":"1","a/b~c":"2"}}`, `[{"op":"add","path":"/m/a~1b~0c","value":"2"}]`},
		"replaced":       {`{"a":30}`, `{"a":90}`, `[{"op":"replace","path":"/a","value":90}]`},
		"exact numbers":  {`{"a":0}`, `{"a":9007199254740993}`, `[{"op":"replace","path":"/a","value":9007199254740993}]`},
		"inserted first": {`{"c":[{"name":"app","x":1}]}`, `{"c":[{"name":"new"},{"name":"app","x":1}]}`, `[{"op":"add","path":"/c/0","value":{"name":"new"}}]`},
		"insert and change": {`{"c":[{"name":"app","m":[]}]}`, `{"c":[{"name":"new"},{"name":"app","m":[1]}]}`,
			`[{"op":"add","path":"/c/0","value":{"name":"new"}},{"op":"add","path":"/c/1/m/0","value":1}]`},
		"appended": {`{"c":[{"name":"a"}]}`, `{"c":[{"name":"a"},{"name":"b"}]}`, `[{"op":"add","path":"/c/1","value":{"name":"b"}}]`},
		"second mount of a volume": {`[{"name":"v","mountPath":"/a"}]`, `[{"name":"v","mountPath":"/a"},{"name":"v","mountPath":"/b"}]`,
			`[{"op":"add","path":"/1","value":{"mountPath":"/b","name":"v"}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			after := decode(t, c.after)
			if name == "exact numbers" {
				after = json.RawMessage(c.after)
			}
			operations, err := patch.Between(decode(t, c.before), after)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(operations)
			if err != nil {
				t.Fatal(err)
			}
			if !jsonpatch.Equal(got, []byte(c.want)) && string(got) != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestBetweenRemovesNothing(t *testing.T) {
	for _, c := range [][2]string{
		{`{"a":1,"b":2}`, `{"a":1}`},
		{`[{"name":"a"},{"name":"b"}]`, `[{"name":"b"}]`},
		{`[{"name":"a"},{"name":"b"}]`, `[{"name":"b"},{"name":"a"}]`},
		{`[1,2]`, `[1]`},
	} {
		operations, err := patch.Between(decode(t, c[0]), decode(t, c[1]))
		if err == nil || !strings.Contains(err.Error(), "would be removed") {
			t.Errorf("%s to %s: got %v, error %v", c[0], c[1], operations, err)
		}
	}
}
