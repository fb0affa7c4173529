package main

import (
	"bytes"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// folder makes a folder with the files, whose contents are given by path.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// contents reads a folder that has no folders in it.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(root, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[entry.Name()] = string(content)
	}
	return files
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		if other, ok := b[key]; !ok || other != value {
			return false
		}
	}
	return true
}

func TestCopies(t *testing.T) {
	for name, test := range map[string]struct {
		input, before, after map[string]string
	}{
		"a package": {
			input: map[string]string{"a.json": "A"},
			after: map[string]string{"a.json": "A"},
		},
		"of all folders, into one": {
			input: map[string]string{"a.json": "A", "deep/er/b.json": "B"},
			after: map[string]string{"a.json": "A", "b.json": "B"},
		},
		"only packages": {
			input: map[string]string{"a.json": "A", "b.txt": "B", "c.json.gz": "C", "json": "D"},
			after: map[string]string{"a.json": "A"},
		},
		"over a longer package, and what an interrupted run left": {
			input:  map[string]string{"a.json": "A"},
			before: map[string]string{"a.json": "longer", ".a.json.unfinished": "half", "other.json": "O"},
			after:  map[string]string{"a.json": "A", "other.json": "O"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			input, output := folder(t, test.input), folder(t, test.before)
			var stderr bytes.Buffer
			if code := run([]string{input, output}, &stderr); code != 0 {
				t.Fatalf("exit code %d: %s", code, &stderr)
			}
			if got := contents(t, output); !equal(got, test.after) {
				t.Errorf("got %v, want %v", got, test.after)
			}
		})
	}
}

func TestAllMayRead(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	input, output := folder(t, map[string]string{"a.json": "A"}), t.TempDir()
	if code := run([]string{input, output}, os.Stderr); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	info, err := os.Stat(filepath.Join(output, "a.json"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o644 {
		t.Errorf("mode is %o", mode)
	}
}

func TestIsNotLedAstray(t *testing.T) {
	secret := filepath.Join(folder(t, map[string]string{"secret": "S"}), "secret")
	input, output := folder(t, map[string]string{"a.json": "A"}), t.TempDir()
	// Neither is a link copied, nor is one written through.
	for link, target := range map[string]string{
		filepath.Join(input, "b.json"):              secret,
		filepath.Join(output, "a.json"):             secret,
		filepath.Join(output, ".a.json.unfinished"): secret,
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	if code := run([]string{input, output}, os.Stderr); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := contents(t, output); !equal(got, map[string]string{"a.json": "A"}) {
		t.Errorf("got %v", got)
	}
	if content, _ := os.ReadFile(secret); string(content) != "S" {
		t.Errorf("the file behind the link is now %q", content)
	}
}

func TestFails(t *testing.T) {
	some := folder(t, map[string]string{"a.json": "A"})
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no arguments":        {nil, 2, "Usage"},
		"one folder":          {[]string{some}, 2, "Usage"},
		"three folders":       {[]string{some, some, some}, 2, "Usage"},
		"an unknown flag":     {[]string{"--pause", some, some}, 2, "-pause"},
		"no input":            {[]string{filepath.Join(some, "none"), t.TempDir()}, 1, "no such file"},
		"no output":           {[]string{some, filepath.Join(some, "none")}, 1, "no such file"},
		"nothing to copy":     {[]string{t.TempDir(), t.TempDir()}, 1, "no file there ends in .json"},
		"two of one name":     {[]string{folder(t, map[string]string{"x/a.json": "1", "y/a.json": "2"}), t.TempDir()}, 1, "same name"},
		"a folder in the way": {[]string{some, folder(t, map[string]string{"a.json/b": "B"})}, 1, "a.json"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(test.args, &stderr); code != test.code {
				t.Errorf("exit code is %d, not %d", code, test.code)
			}
			if !strings.Contains(stderr.String(), test.says) {
				t.Errorf("%q does not say %q", &stderr, test.says)
			}
		})
	}
}

// A disk that is full in the middle of a file: the limit on the size of files stands in for it.
func TestFullDisk(t *testing.T) {
	input := folder(t, map[string]string{"a.json": strings.Repeat("new", 10_000)})
	output := folder(t, map[string]string{"a.json": "good", "other.json": "O"})
	before := contents(t, output)

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	full := limit
	full.Cur = 4096
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := run([]string{input, output}, &stderr)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if code != 1 || !strings.Contains(stderr.String(), "file too large") {
		t.Errorf("exit code is %d, and it says %q", code, &stderr)
	}
	// What was there is what is there: nothing half, and nothing left over.
	if got := contents(t, output); !equal(got, before) {
		t.Errorf("the folder holds %q", got)
	}
}

func TestAsChartsCallIt(t *testing.T) {
	input, output := folder(t, map[string]string{"a.json": "A"}), t.TempDir()
	if code := run([]string{"/copyandmaybepause", input, output}, os.Stderr); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if got := contents(t, output); !equal(got, map[string]string{"a.json": "A"}) {
		t.Errorf("got %v", got)
	}
}

func TestWaits(t *testing.T) {
	input, output := folder(t, map[string]string{"a.json": "A"}), t.TempDir()
	ended := make(chan int)
	go func() { ended <- run([]string{"--wait", input, output}, os.Stderr) }()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if content, _ := os.ReadFile(filepath.Join(output, "a.json")); string(content) == "A" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not copy")
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case code := <-ended:
		t.Fatalf("it ended with exit code %d", code)
	default:
	}
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code is %d", code)
	}
}
