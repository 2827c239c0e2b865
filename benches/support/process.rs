//! The server of a bench, in another process of the same program. Client and server exchange lines.
//!
//! So processor time and memory are those of the server alone, without those of the clients.

use std::fs;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::{arguments, arguments_after};

/// The flag that makes this program the server.
const SERVER: &str = "--as-server";

/// A running server. It ends when this is dropped.
pub struct Server {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let bench = arguments::words().next().expect("the name of a bench");
        let mut process = Command::new(program)
            .args([&bench, "--bench", SERVER])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        Self {
            questions: process.stdin.take(),
            answers: BufReader::new(process.stdout.take().expect("its output")),
            process,
        }
    }

    pub fn tell(&mut self, line: &str) {
        let questions = self.questions.as_mut().expect("it is running");
        writeln!(questions, "{line}").expect("the server listens");
        questions.flush().expect("the server listens");
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).expect("the server answers");
        assert!(length > 0, "the server ended");
        line.trim_end().to_owned()
    }

    /// Sends a line, and returns the numbers that the server answers with.
    pub fn ask<const N: usize>(&mut self, line: &str) -> [u64; N] {
        self.tell(line);
        let answer = self.hear();
        let numbers: Vec<u64> = answer
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        numbers.try_into().expect("as many numbers as were asked for")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server ends at the end of its input.
        self.questions = None;
        let _ = self.process.wait();
    }
}

/// In the server: its arguments. None in the clients' process.
pub fn server_arguments() -> Option<Vec<String>> {
    arguments_after(SERVER)
}

/// In the server: the next line from the clients, until their process ends.
pub fn next_line() -> Option<String> {
    let mut line = String::new();
    let length = stdin().read_line(&mut line).unwrap_or(0);
    (length > 0).then(|| line.trim_end().to_owned())
}

/// In the server: writes a line to the clients.
pub fn say(line: &str) {
    let mut output = stdout().lock();
    // The clients may be gone. `next_line` returns None then.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// The processor time of all threads of this process so far.
#[cfg(target_os = "linux")]
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
pub fn processor_time() -> Duration {
    panic!("this bench needs Linux")
}

/// A line of `/proc/self/status`, such as `VmRSS`, in KiB.
pub fn memory_kib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this bench needs Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .expect("a line of that name");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}
