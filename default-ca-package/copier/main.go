// Copyandmaybepause copies the default CA package out of its image: it is what the chart's init container runs.
//
//	copyandmaybepause [--wait] [/copyandmaybepause] INPUT OUTPUT
//
// Every regular file below the folder INPUT whose name ends in .json is put straight into the folder OUTPUT, readable by all.
// Charts name the program once more as the first argument, from a time when images had another entrypoint; it is ignored.
// With --wait it does not end after that, but at SIGTERM or SIGINT, so that it can be a sidecar.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"syscall"
)

// Name that charts give the program.
const formerName = "/copyandmaybepause"

func main() {
	os.Exit(run(os.Args[1:], os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 a command line that cannot be used.
func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("copyandmaybepause", flag.ContinueOnError)
	flags.SetOutput(stderr)
	wait := flags.Bool("wait", false, "end at SIGTERM or SIGINT, not after copying")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	folders := flags.Args()
	if len(folders) == 3 && folders[0] == formerName {
		folders = folders[1:]
	}
	if len(folders) != 2 {
		fmt.Fprintln(stderr, "Usage: copyandmaybepause [--wait] INPUT OUTPUT")
		return 2
	}
	// From here on, so that a signal while it copies does not kill it half-way.
	signals := make(chan os.Signal, 1)
	if *wait {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	}
	copied, err := copyPackages(folders[0], folders[1])
	for _, name := range copied {
		fmt.Fprintf(stderr, "Copied %s to %s\n", name, folders[1])
	}
	if err != nil {
		fmt.Fprintf(stderr, "Packages of %s were not copied to %s: %v\n", folders[0], folders[1], err)
		return 1
	}
	if *wait {
		<-signals
	}
	return 0
}

// copyPackages returns the names of the files that it copied, also if it fails. No file or link can lead it out of either folder.
func copyPackages(input, output string) (copied []string, err error) {
	from, err := os.OpenRoot(input)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	to, err := os.OpenRoot(output)
	if err != nil {
		return nil, err
	}
	defer to.Close()

	pathOf := map[string]string{}
	err = fs.WalkDir(from.FS(), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || path.Ext(file) != ".json" {
			return err
		}
		name := path.Base(file)
		if other, taken := pathOf[name]; taken {
			return fmt.Errorf("%s and %s have the same name", other, file)
		}
		pathOf[name] = file
		if err := copyFile(from, file, to, name); err != nil {
			return err
		}
		copied = append(copied, name)
		return nil
	})
	if err == nil && len(copied) == 0 {
		err = errors.New("no file there ends in .json")
	}
	return copied, err
}

// copyFile puts the file in its place in one step, so that nobody reads half of it, whoever owns what was there.
func copyFile(from *os.Root, file string, to *os.Root, name string) (err error) {
	source, err := from.Open(file)
	if err != nil {
		return err
	}
	defer source.Close()
	unfinished := "." + name + ".unfinished"
	if err := to.Remove(unfinished); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	target, err := to.OpenFile(unfinished, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	// Whatever the umask: the operator may run as another user.
	err = errors.Join(err, target.Chmod(0o644), target.Close())
	if err == nil {
		err = to.Rename(unfinished, name)
	}
	if err != nil {
		_ = to.Remove(unfinished)
	}
	return err
}
