package s3

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/minio-sidecar/minio-sidecar/syncer/store"
)

// minioFolder ends the names by which MinIO keeps folder objects on its disks.
// It takes keys with such names and then lists them as something else.
const minioFolder = "__XLDIR__"

// checkKey refuses what no store takes, or what some store takes and loses.
func checkKey(key string) error {
	var why string
	switch {
	case strings.TrimSpace(key) == "":
		why = "it is blank"
	case len(key) > store.MaxKey:
		why = fmt.Sprintf("with the prefix it has %d bytes, S3 takes %d", len(key), store.MaxKey)
	case !utf8.ValidString(key):
		why = "it is not UTF-8"
	case strings.HasSuffix(key, minioFolder), strings.Contains(key, minioFolder+"/"):
		why = "MinIO reserves names that end in " + minioFolder
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", store.ErrKeyRejected, why)
}
