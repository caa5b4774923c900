package interop

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/minio-sidecar/minio-sidecar/internal/testenv"
)

// names are what a file, and a folder, may be called on Linux. Those with a
// reason cannot be in a bucket, and must be reported for it.
var names = []struct {
	name   string
	reason string
}{
	{name: "plain"},
	{name: "new\nline"},
	{name: "tab\there"},
	{name: "carriage\rreturn"},
	{name: "bell\x07escape\x1b[31munit\x1fdelete\x7f"},
	{name: "%"},
	{name: "100%"},
	{name: "%2F"},
	{name: "%2e%2e%2f"},
	{name: "a+b c"},
	{name: "+"},
	{name: `back\slash`},
	{name: `\`},
	{name: `"double" 'single'` + "`tick`"},
	{name: "-rf"},
	{name: "--"},
	{name: " leading"},
	{name: "trailing "},
	{name: "  "},
	{name: "trailing."},
	{name: ".hidden"},
	{name: "..."},
	{name: ".minio.sys"},
	{name: ".minio-sidecar.old"},
	{name: "?versionId=1"},
	{name: "a*b"},
	{name: "#"},
	{name: "a&b=c;d,e:f@g!h$i^j|k<l>m~n"},
	{name: "(round) [square] {curly}"},
	{name: "caf\u00e9"},
	{name: "cafe\u0301"}, // another name
	{name: "日本語 العربية"},
	{name: "\U0001F600\u200d\U0001F525"},
	{name: "\u202eesrever"},
	{name: "\ufeffmark"},
	{name: "xl.meta"},
	{name: "part.1"},
	{name: strings.Repeat("n", 255)},
	{name: strings.Repeat("é", 127)},
	{name: "not UTF-8 \xff", reason: "it is not UTF-8"},
	{name: "half a rune \xe2\x82", reason: "it is not UTF-8"},
	{name: ". ", reason: "bad components"},  // MinIO takes it for .
	{name: " ..", reason: "bad components"}, // and this for ..
	{name: `..\..\etc`, reason: "bad components"},
	{name: "x__XLDIR__", reason: "MinIO reserves names"}, // its own mark
}

// noMark is said of an empty folder whose name, with the nine bytes that MinIO
// puts behind it, is longer than 255.
const noMark = "does not accept this name"

// Every name comes back, as that of a file, of a folder with something in it,
// of an empty one, and of a link; or it is reported, and in nobody's way.
func TestNames(t *testing.T) {
	l := newLab(t, testenv.MinIO(t))
	from, to := l.node(), l.node()
	from.start()
	unsyncable := map[string]string{}
	lost := []string{} // what cannot be restored
	report := func(path, reason string) {
		unsyncable[legible(path)] = reason
		lost = append(lost, strings.TrimSuffix(path, "/"))
	}
	l.check(os.Mkdir(from.path("links"), 0o755))
	for _, tt := range names {
		from.write("files/"+tt.name, tt.name)
		from.write("folders/"+tt.name+"/inside", tt.name)
		l.check(os.MkdirAll(from.path("empty/"+tt.name), 0o755))
		l.check(os.Symlink(tt.name, from.path("links/"+tt.name)))
		switch {
		case tt.reason != "":
			for _, path := range []string{"files/%s", "folders/%s/inside", "empty/%s/", "links/%s"} {
				report(fmt.Sprintf(path, tt.name), tt.reason)
			}
			lost = append(lost, "folders/"+tt.name)
		case len(tt.name) > 255-9:
			report("empty/"+tt.name+"/", noMark)
		}
	}
	// Keys around the limit of S3.
	long := strings.Repeat(strings.Repeat("d", 249)+"/", 4)
	long = long[:len(long)-1-len(prefix)] + "/"
	for _, size := range []int{1023, 1024, 1025, 1200} {
		path := long + strings.Repeat("f", size-len(prefix)-len(long))
		from.write(path, path)
		if size > 1024 {
			report(path, fmt.Sprintf("it has %d bytes, S3 takes 1024", size))
		}
	}
	from.flush()
	from.wantUnsyncable(unsyncable)

	to.restore()
	want := from.describe()
	for _, path := range lost {
		delete(want, path)
	}
	to.wantVolume(want)

	// It is reported as long as it is there, and wherever it is.
	for _, tt := range names {
		for i, folder := range []string{"files/", "folders/", "empty/", "links/"} {
			if tt.reason != "" {
				l.check(os.Rename(from.path(folder+tt.name), from.path(fmt.Sprintf("%srenamed %x %d", folder, tt.name, i))))
			}
		}
	}
	first, _, _ := strings.Cut(long, "/")
	l.check(os.RemoveAll(from.path(first)))
	l.check(os.Rename(from.path("empty"), from.path("moved")))
	from.flush()
	unsyncable = map[string]string{}
	for _, tt := range names {
		if tt.reason == "" && len(tt.name) > 255-9 {
			unsyncable["moved/"+tt.name+"/"] = noMark
		}
	}
	from.wantUnsyncable(unsyncable)
	from.stop()
}

// legible is how a status, which is JSON, names what is not UTF-8.
func legible(name string) string {
	return strings.NewReplacer("\xff", `\xff`, "\xe2\x82", `\xe2\x82`).Replace(name)
}
