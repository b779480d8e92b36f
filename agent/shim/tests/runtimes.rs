//! Languages' runtimes live behind the walls: threads, processes, just-in-time compilers, shared memory, sockets. Those
//! that are not installed are named and left out.
#![allow(missing_docs)]

mod support;
use hokku_model::dyno::Exit;
use std::{fs, path::Path};
use support::{Bench, walled};

/// Runs a program of one file in each kind of walls; its last line has to be this.
#[track_caller]
fn lives(runtime: &str, file: &str, text: &str, command: &str, last: &str) {
    let installed = ["/usr/bin", "/usr/local/bin", "/usr/local/go/bin"]
        .iter()
        .any(|d| Path::new(d).join(runtime).exists());
    if !installed {
        eprintln!("{runtime} is not installed: not tested");
        return;
    }
    for way in walled() {
        let mut b = Bench::new(way, command);
        fs::write(b.path("slug").join(file), text).unwrap();
        b.spec.env[0].1 = "/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin".into();
        b.spec.limits.nofile = Some(65_536);
        let (exit, log) = b.run();
        assert_eq!(exit, Exit::Code(0), "{way:?} {log:#?}");
        assert_eq!(
            log.last().map(String::as_str),
            Some(last),
            "{way:?} {log:#?}"
        );
        assert!(!log.iter().any(|l| l.contains("not permitted")), "{log:#?}");
    }
}

#[test]
fn python() {
    lives(
        "python3",
        "a.py",
        r#"
import asyncio, ctypes, mmap, multiprocessing as mp, os, socket, subprocess, tempfile, threading
def square(x): return x * x
if __name__ == "__main__":
    with mp.Pool(2) as pool: assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
    lock = mp.Semaphore(1); lock.acquire(); lock.release()
    from multiprocessing import shared_memory
    m = shared_memory.SharedMemory(create=True, size=4096); m.buf[0] = 7; m.close(); m.unlink()
    done = []
    ts = [threading.Thread(target=done.append, args=(i,)) for i in range(50)]
    [t.start() for t in ts]; [t.join() for t in ts]; assert len(done) == 50
    a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
    assert socket.getaddrinfo("localhost", 80)
    socket.if_nameindex()
    assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
    ctypes.CDLL(None).getpid()
    async def talk():
        async def echo(r, w): w.write(await r.readline()); w.close()
        s = await asyncio.start_server(echo, "127.0.0.1", 0)
        r, w = await asyncio.open_connection(*s.sockets[0].getsockname()); w.write(b"hi\n"); assert await r.readline() == b"hi\n"
    asyncio.run(talk())
    t = tempfile.TemporaryFile(); os.posix_fallocate(t.fileno(), 0, 4096); os.nice(1); os.sched_getaffinity(0)
    print("python lives")
"#,
        "/usr/bin/python3 a.py",
        "python lives",
    );
}

/// libuv is told to use io_uring, which it is refused: it goes on without.
#[test]
fn node() {
    lives(
        "node",
        "a.js",
        r#"
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) { let s = 0; for (let i = 0; i < 3e6; i++) s = (s + i * 7) % 1000003; parentPort.postMessage(s); return; }
const fs = require('fs/promises'), http = require('http'), cp = require('child_process'), os = require('os'), dns = require('dns/promises');
(async () => {
  const sums = await Promise.all([1, 2, 3].map(() => new Promise((ok, no) => new Worker(__filename).on('message', ok).on('error', no))));
  if (new Set(sums).size !== 1) throw new Error('workers');
  await Promise.all([...Array(100).keys()].map(i => fs.writeFile('/tmp/f' + i, 'x'.repeat(1000))));
  for (let i = 0; i < 100; i++) if ((await fs.readFile('/tmp/f' + i)).length !== 1000) throw new Error('files');
  if (cp.execFileSync('sh', ['-c', 'echo out']).toString() !== 'out\n') throw new Error('process');
  await fs.writeFile('/tmp/child.js', 'process.send(6 * 7)'); const child = cp.fork('/tmp/child.js');
  if (await new Promise(ok => child.once('message', ok)) !== 42) throw new Error('fork');
  os.cpus(); os.networkInterfaces(); await dns.lookup('localhost');
  const s = http.createServer((q, r) => r.end('hello')).listen(0);
  const r = await fetch('http://127.0.0.1:' + s.address().port); if (await r.text() !== 'hello') throw new Error('http');
  s.close(); s.closeAllConnections();
  console.log('node lives');
})();
"#,
        "UV_USE_IO_URING=1 node a.js",
        "node lives",
    );
}

/// Compiled on the fly, with hot loops for the just-in-time compiler, many threads and a child process.
#[test]
fn java() {
    lives(
        "java",
        "A.java",
        r#"
import java.net.*; import java.util.concurrent.*; import java.nio.file.*;
public class A {
  static long f(int n) { long s = 0; for (int i = 0; i < n; i++) s += i ^ (s << 1); return s; }
  public static void main(String[] a) throws Exception {
    long x = 0; for (int i = 0; i < 2000; i++) x ^= f(5000);
    ExecutorService pool = Executors.newFixedThreadPool(50);
    for (int i = 0; i < 200; i++) pool.submit(() -> f(1000)).get();
    pool.shutdown();
    Process p = new ProcessBuilder("sh", "-c", "exit 3").start(); if (p.waitFor() != 3) throw new Exception("process");
    try (ServerSocket s = new ServerSocket(0, 1, InetAddress.getLoopbackAddress()); Socket c = new Socket(s.getInetAddress(), s.getLocalPort())) { s.accept().close(); }
    Files.writeString(Path.of("/tmp/j"), "x"); System.gc();
    NetworkInterface.getNetworkInterfaces(); Runtime.getRuntime().availableProcessors();
    System.out.println("java lives");
  }
}
"#,
        "java -Xmx128m -XX:+UseG1GC A.java",
        "java lives",
    );
}

#[test]
fn ruby() {
    lives(
        "ruby",
        "a.rb",
        r#"
require 'socket'; require 'open3'; require 'tempfile'
r = 20.times.map { |i| Thread.new { i * i } }.map(&:value); raise 'threads' unless r.sum == 2470
pid = fork { exit 3 }; Process.wait(pid); raise 'fork' unless $?.exitstatus == 3
out, = Open3.capture2('cat', stdin_data: 'x'); raise 'pipe' unless out == 'x'
s = TCPServer.new('127.0.0.1', 0); c = TCPSocket.new('127.0.0.1', s.addr[1]); s.accept.close
Process.clock_gettime(Process::CLOCK_MONOTONIC); Process.setproctitle('a'); Socket.ip_address_list
puts 'ruby lives'
"#,
        "ruby --jit a.rb || ruby a.rb",
        "ruby lives",
    );
}

#[test]
fn php() {
    lives(
        "php",
        "a.php",
        r#"<?php
$s = 0; for ($i = 0; $i < 1000000; $i++) $s += $i % 7;
$p = proc_open(['sh', '-c', 'exit 3'], [], $x); if (proc_close($p) !== 3) exit(1);
$l = stream_socket_server('tcp://127.0.0.1:0'); $c = stream_socket_client('tcp://' . stream_socket_get_name($l, false));
file_put_contents('/tmp/p', 'x'); gethostbyname('localhost');
echo "php lives\n";
"#,
        "php -d opcache.enable_cli=1 -d opcache.jit_buffer_size=16M a.php",
        "php lives",
    );
}

#[test]
fn go() {
    lives(
        "go",
        "a.go",
        r#"package main
import ("fmt"; "net"; "net/http"; "os/exec"; "sync"; "io")
func main() {
	var wg sync.WaitGroup; var mu sync.Mutex; n := 0
	for i := 0; i < 1000; i++ { wg.Add(1); go func() { defer wg.Done(); mu.Lock(); n++; mu.Unlock() }() }
	wg.Wait()
	if err := exec.Command("sh", "-c", "exit 3").Run(); err == nil { panic("process") }
	net.Interfaces(); net.LookupHost("localhost")
	l, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hi")) }))
	r, err := http.Get("http://" + l.Addr().String()); if err != nil { panic(err) }
	b, _ := io.ReadAll(r.Body)
	fmt.Println("go says", string(b), n)
}
"#,
        "GOCACHE=/tmp/cache GOFLAGS=-mod=mod GO111MODULE=off go run a.go",
        "go says hi 1000",
    );
}

#[test]
fn compilers_and_makers() {
    lives(
        "gcc",
        "a.c",
        "#include <stdio.h>\nint main(void) { puts(\"c lives\"); return 0; }\n",
        "gcc -O2 -pipe -o a a.c && ./a",
        "c lives",
    );
}
