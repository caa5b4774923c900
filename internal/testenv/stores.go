package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// MinIO starts a MinIO server.
func MinIO(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, o := newServer(t, "minio", opts)
	certs := filepath.Join(filepath.Dir(s.logFile), "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	if o.tls {
		s.CAFile = selfSigned(t, certs)
	}
	path := Tool(t, "minio")
	s.command = func(s *Server) command {
		return command{
			path: path,
			args: []string{
				"server", "--anonymous", "--certs-dir", certs,
				"--address", fmt.Sprintf("127.0.0.1:%d", s.port), s.DataDir,
			},
			env: append([]string{
				"MINIO_ROOT_USER=" + s.AccessKey,
				"MINIO_ROOT_PASSWORD=" + s.SecretKey,
				"MINIO_SITE_REGION=" + Region,
				"MINIO_BROWSER=off",
				"MINIO_UPDATE=off",
				"MINIO_CALLHOME_ENABLE=off",
			}, o.env...),
		}
	}
	return s.start(t)
}

// Versitygw starts a Versity S3 gateway that keeps objects in a folder. It
// keeps versions where a bucket asks for them.
func Versitygw(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, o := newServer(t, "versitygw", opts)
	versions := filepath.Join(filepath.Dir(s.logFile), "versions")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	path := Tool(t, "versitygw")
	s.command = func(s *Server) command {
		return command{
			path: path,
			args: []string{
				"--port", fmt.Sprintf("127.0.0.1:%d", s.port), "--region", Region, "--quiet",
				"posix", "--versioning-dir", versions, s.DataDir,
			},
			env: append([]string{
				"ROOT_ACCESS_KEY=" + s.AccessKey,
				"ROOT_SECRET_KEY=" + s.SecretKey,
			}, o.env...),
		}
	}
	return s.start(t)
}

// RcloneS3 starts `rclone serve s3` over a folder. As rclone comes, it takes
// the two ways to write ü for one name; here it is told not to.
func RcloneS3(t testing.TB, opts ...Option) *Server {
	t.Helper()
	s, o := newServer(t, "rclone", opts)
	path := Tool(t, "rclone")
	s.command = func(s *Server) command {
		return command{
			path: path,
			args: []string{"serve", "s3", "--addr", fmt.Sprintf("127.0.0.1:%d", s.port), s.DataDir},
			env: append([]string{
				"RCLONE_NO_UNICODE_NORMALIZATION=true",
				"RCLONE_CONFIG=" + filepath.Join(filepath.Dir(s.logFile), "rclone.conf"),
				`RCLONE_AUTH_KEY="` + s.AccessKey + "," + s.SecretKey + `"`,
			}, o.env...),
		}
	}
	return s.start(t)
}
