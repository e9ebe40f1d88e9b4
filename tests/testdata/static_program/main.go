// A program for krun to start: one static executable that needs no library, shell or file, so that it also runs in a root
// file system that holds nothing else. Its first argument says what it does; it prints JSON, or plain lines where a test
// waits for them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var commands = map[string]func(args []string){
	"describe": describe,
	"cat":      cat,
	"ls":       ls,
	"write":    write,
	"exit":     exit,
	"die":      die,
	"wait":     wait,
	"orphans":  orphans,
	"zombies":  zombies,
	"children": children,
	"sleep":    sleep,
	"setsid":   setsid,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail("usage: program describe | cat PATH... | ls PATH | write PATH TEXT | exit N | die SIGNAL | " +
			"wait [ignore=N,N] [exit=N:STATUS] | orphans COUNT SECONDS | children COUNT SECONDS | sleep SECONDS | zombies | setsid PROGRAM ARG...")
	}
	commands[os.Args[1]](os.Args[2:])
}

func fail(values ...any) {
	fmt.Fprintln(os.Stderr, values...)
	os.Exit(99)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	check(err)
	return n
}

func print(value any) {
	check(json.NewEncoder(os.Stdout).Encode(value))
}

// describe prints everything a process can see of how it was started.
func describe(args []string) {
	env := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	cwd, _ := os.Getwd()
	groups, _ := syscall.Getgroups()
	session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, 0, 0, 0)
	var files syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	print(map[string]any{
		"args": args, "env": env, "cwd": cwd,
		"pid": os.Getpid(), "ppid": os.Getppid(), "pgid": syscall.Getpgrp(), "sid": int(session),
		"uid": os.Getuid(), "gid": os.Getgid(), "groups": groups,
		"status": procStatus(os.Getpid()), "nofile": files.Cur,
	})
}

// procStatus is /proc/PID/status as a map: SigIgn, SigBlk, SigCgt, State, PPid and more.
func procStatus(pid int) map[string]string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	fields := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, found := strings.Cut(line, ":"); found {
			fields[name] = strings.TrimSpace(value)
		}
	}
	return fields
}

// cat prints {path: content}.
func cat(paths []string) {
	contents := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		check(err)
		contents[path] = string(content)
	}
	print(contents)
}

// ls prints every entry below a folder but /proc's, links not followed: {path: {mode, uid, gid, link}}.
func ls(args []string) {
	entries := map[string]any{}
	check(filepath.Walk(args[0], func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if path == "/proc" {
			return filepath.SkipDir
		}
		owner := info.Sys().(*syscall.Stat_t)
		link, _ := os.Readlink(path)
		entries[path] = map[string]any{
			"mode": fmt.Sprintf("%o", owner.Mode&0o7777), "uid": owner.Uid, "gid": owner.Gid, "link": link, "folder": info.IsDir(),
		}
		return nil
	}))
	print(entries)
}

func write(args []string) {
	check(os.WriteFile(args[0], []byte(args[1]), 0o600))
}

func exit(args []string) {
	os.Exit(number(args[0]))
}

// die ends by a signal.
func die(args []string) {
	check(syscall.Kill(os.Getpid(), syscall.Signal(number(args[0]))))
	time.Sleep(time.Hour)
}

// wait prints "ready", then one line "signal N" for each signal, until one that it has a status for (default: TERM 0, INT 0).
func wait(args []string) {
	status := map[int]int{int(syscall.SIGTERM): 0, int(syscall.SIGINT): 0}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "ignore":
			for _, n := range strings.Split(value, ",") {
				delete(status, number(n))
			}
		case "exit":
			n, code, _ := strings.Cut(value, ":")
			status[number(n)] = number(code)
		default:
			fail("wait does not know", arg)
		}
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	fmt.Println("ready")
	for s := range signals {
		n := int(s.(syscall.Signal))
		if n == int(syscall.SIGURG) || n == int(syscall.SIGCHLD) {
			continue // the Go runtime sends the first to itself
		}
		fmt.Println("signal", n)
		if code, known := status[n]; known {
			os.Exit(code)
		}
	}
}

// start starts this program again. It gets pipes of ours: os/exec would open /dev/null, and there may be none.
func start(args ...string) (*os.Process, *os.File) {
	path, err := os.Executable()
	check(err)
	ours, theirs, err := os.Pipe()
	check(err)
	process, err := os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{
		Files: []*os.File{ours, theirs, os.Stderr},
		Env:   os.Environ(),
	})
	check(err)
	check(theirs.Close())
	return process, ours
}

// orphans starts COUNT processes whose parent ends at once, prints their pids, and ends; each lives SECONDS.
func orphans(args []string) {
	pids := []int{}
	for range make([]struct{}, number(args[0])) {
		middle, out := start("children", "1", args[1])
		var made []int
		check(json.NewDecoder(out).Decode(&made))
		_, err := middle.Wait()
		check(err)
		pids = append(pids, made...)
	}
	print(pids)
}

// children starts COUNT processes that live SECONDS, prints their pids, and ends without waiting for them.
func children(args []string) {
	pids := []int{}
	for range make([]struct{}, number(args[0])) {
		child, _ := start("sleep", args[1])
		pids = append(pids, child.Pid)
	}
	print(pids)
}

func sleep(args []string) {
	time.Sleep(time.Duration(number(args[0])) * time.Second)
}

// setsid becomes the leader of a new session, then PROGRAM, as the first process of a container is.
func setsid(argv []string) {
	_, err := syscall.Setsid()
	check(err)
	check(syscall.Exec(argv[0], argv, os.Environ()))
}

// zombies prints the pids of all processes that have ended and that nobody has waited for.
func zombies([]string) {
	found := []int{}
	folders, err := filepath.Glob("/proc/[0-9]*")
	check(err)
	for _, folder := range folders {
		pid := number(filepath.Base(folder))
		if strings.HasPrefix(procStatus(pid)["State"], "Z") {
			found = append(found, pid)
		}
	}
	sort.Ints(found)
	print(found)
}
