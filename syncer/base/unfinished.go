package base

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// Uploads in parts whose parts may still be in the bucket, unseen but paid for,
// are kept among the meta values: "unfinished/<id>" holds the object's key.
var unfinishedPrefix = []byte("unfinished/")

func unfinishedName(id string) []byte { return append(bytes.Clone(unfinishedPrefix), id...) }

// NoteUnfinished writes down that an upload of the object in parts has begun,
// under the id that the store gave it.
func (d *DB) NoteUnfinished(object, id string) error {
	if err := d.SetMeta(string(unfinishedName(id)), object); err != nil {
		return fmt.Errorf("write down the upload in parts of %q: %w", object, err)
	}
	return nil
}

// ForgetUnfinished crosses it out: the upload was completed or aborted.
func (d *DB) ForgetUnfinished(id string) error {
	return d.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Delete(unfinishedName(id)) })
}

// Unfinished are the uploads in parts that were not crossed out, also those of
// earlier processes: objects by id.
func (d *DB) Unfinished() (map[string]string, error) {
	all := map[string]string{}
	err := d.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket(metaBucket).Cursor()
		for name, object := c.Seek(unfinishedPrefix); bytes.HasPrefix(name, unfinishedPrefix); name, object = c.Next() {
			all[string(name[len(unfinishedPrefix):])] = string(object)
		}
		return nil
	})
	return all, err
}
