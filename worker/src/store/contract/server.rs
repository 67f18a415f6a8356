//! A server of the tests' own.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Folder, Place};
use crate::accounts::Secret;

/// Programs that speak the protocol, the first that is installed.
const PROGRAMS: [&str; 2] = ["valkey-server", "redis-server"];
const PASSWORD: &str = "a password of the tests";

/// Ended with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    _folder: Folder,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        Self::start_at(port)
    }

    /// On the port of one that has ended: the same server to its clients.
    pub(crate) fn start_at(port: u16) -> Self {
        let folder = Folder::new();
        let spawn = |program: &&str| {
            Command::new(program)
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .args(["--port", &port.to_string(), "--requirepass", PASSWORD])
                .current_dir(&folder.0)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        };
        let child = PROGRAMS.iter().find_map(spawn);
        let child = child.expect("valkey-server or redis-server must be installed");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            port,
            _folder: folder,
        }
    }

    /// Makes it silent: connections stand, nothing is answered.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Server::stop`].
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Takes all that is in it, as its owner may; it goes on answering.
    pub(crate) fn empty(&self) {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(connection, "AUTH \"{PASSWORD}\"\r\nFLUSHALL\r\nQUIT\r\n").unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).unwrap();
        assert_eq!(said, "+OK\r\n".repeat(3));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn place(&self) -> Place {
        let password = PASSWORD.replace(' ', "%20");
        Place::Valkey(Secret::new(format!(
            "redis://:{password}@127.0.0.1:{}",
            self.port
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
