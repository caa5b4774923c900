// Package patch makes JSON patches that only ever add and replace what was
// meant.
//
// The webhook decodes a pod into the types that it was compiled with, and a
// newer API server may have sent fields that these types lack. A patch made
// from the difference of the two typed encodings, before and after, never
// mentions such fields, so they survive, provided that list elements are
// matched by who they are and not by their index: an element inserted at the
// front must not turn into "element 0 became somebody else", which would leave
// the unknown fields of the old element 0 with the new one.
package patch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
)

// Between are the operations that make after of before, both being values that
// encode as JSON. Each of them is valid for any document from which before was
// decoded. It is an error if something would have to be removed or reordered.
func Between(before, after any) ([]jsonpatch.Operation, error) {
	a, err := generic(before)
	if err != nil {
		return nil, err
	}
	b, err := generic(after)
	if err != nil {
		return nil, err
	}
	var d differ
	if err := d.value("", a, b); err != nil {
		return nil, err
	}
	return d.operations, nil
}

// generic is v as encoding/json decodes it into an any, numbers exact.
func generic(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var out any
	err = decoder.Decode(&out)
	return out, err
}

type differ struct{ operations []jsonpatch.Operation }

func (d *differ) add(path string, value any) {
	d.operations = append(d.operations, jsonpatch.NewOperation("add", path, value))
}

func (d *differ) value(path string, a, b any) error {
	switch b := b.(type) {
	case map[string]any:
		if a, same := a.(map[string]any); same {
			return d.object(path, a, b)
		}
	case []any:
		if a, same := a.([]any); same {
			return d.list(path, a, b)
		}
	}
	if !reflect.DeepEqual(a, b) {
		d.operations = append(d.operations, jsonpatch.NewOperation("replace", path, b))
	}
	return nil
}

func (d *differ) object(path string, a, b map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(b)) {
		at := path + "/" + escape(key)
		old, found := a[key]
		if !found {
			// Where the document has an empty list or object that typed encoding
			// leaves out, "add" replaces it.
			d.add(at, b[key])
		} else if err := d.value(at, old, b[key]); err != nil {
			return err
		}
	}
	for key := range a {
		if _, found := b[key]; !found {
			return fmt.Errorf("%s/%s would be removed", path, escape(key))
		}
	}
	return nil
}

// list walks both in step: what is not the next of a was inserted.
func (d *differ) list(path string, a, b []any) error {
	next := 0
	for i, element := range b {
		at := path + "/" + strconv.Itoa(i)
		if next == len(a) || !identical(a[next], element) {
			d.add(at, element)
			continue
		}
		if err := d.value(at, a[next], element); err != nil {
			return err
		}
		next++
	}
	if next < len(a) {
		return fmt.Errorf("an element of %s would be removed or moved", path)
	}
	return nil
}

// identical reports whether two elements of a list in a pod are the same one,
// changed or not. Everything in a pod that has an identity has a name; mounts
// of one volume differ in where.
func identical(a, b any) bool {
	x, isObject := a.(map[string]any)
	y, alsoObject := b.(map[string]any)
	if !isObject || !alsoObject || x["name"] == nil {
		return reflect.DeepEqual(a, b)
	}
	return x["name"] == y["name"] && x["mountPath"] == y["mountPath"]
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}
