//! Forking, signals, inheriting sockets over an exec: one process with one thread, which the test harness is not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may assume; what is not a #[test] function itself is one part of it"
)]

use net::process::{self, Ended, Pid, Signal, Signals};
use net::{Address, inherited, listen};
use std::env;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

fn main() {
    match env::args().nth(1).as_deref() {
        Some("answer-inherited") => return answer_inherited(),
        Some("--list") => {
            // What a runner of tests asks for before it runs them.
            if !env::args().any(|word| word == "--ignored") {
                println!("processes: test");
            }
            return;
        }
        _ => {}
    }
    let signals = Signals::block([Signal::SIGCHLD, Signal::SIGUSR1, Signal::SIGTERM]).unwrap();
    a_signal_waits_until_it_is_asked_for(&signals);
    a_workers_end_is_told(&signals);
    a_daemon_leaves_the_session(&signals);
    root_is_given_up_for_good(&signals);
    sockets_go_to_the_next_program(&signals);
    a_process_with_threads_does_not_fork();
    println!("processes: ok");
}

fn a_signal_waits_until_it_is_asked_for(signals: &Signals) {
    assert_eq!(signals.wait(Some(Duration::from_millis(10))).unwrap(), None);
    process::kill(Pid::this(), Signal::SIGUSR1).unwrap();
    assert_eq!(signals.wait(None).unwrap(), Some((Signal::SIGUSR1, Pid::this())));
}

fn a_workers_end_is_told(signals: &Signals) {
    let worker = process::fork_worker(|| 7).unwrap();
    assert_eq!(end(signals), Ended::Exited(worker, 7));
    let worker = process::fork_worker(|| panic!("on purpose")).unwrap();
    assert_eq!(end(signals), Ended::Exited(worker, 101));

    // Blocked in the worker too, until it lets them through.
    let worker = process::fork_worker(|| {
        signals.unblock().unwrap();
        std::thread::sleep(Duration::from_secs(30));
        1
    })
    .unwrap();
    process::kill(worker, Signal::SIGTERM).unwrap();
    assert!(matches!(end(signals), Ended::Killed(pid, Signal::SIGTERM, _) if pid == worker));
    assert_eq!(process::reap().unwrap(), None);
}

fn a_daemon_leaves_the_session(signals: &Signals) {
    let (ours, theirs) = net::handoff::pair().unwrap();
    let starter = process::fork_worker(|| {
        process::daemonize().unwrap();
        let input = std::fs::read_link("/proc/self/fd/0").unwrap();
        let leads = nix::unistd::getsid(None).unwrap() == Pid::this();
        let told = format!("{leads} {}", input.display());
        net::handoff::send(&theirs, told.as_bytes(), &[]).unwrap();
        5
    })
    .unwrap();
    assert_eq!(end(signals), Ended::Exited(starter, 0));
    let told = net::handoff::receive(&ours, net::handoff::Most { bytes: 100, files: 0 }).unwrap().unwrap();
    assert_eq!(String::from_utf8(told.bytes).unwrap(), "true /dev/null");
}

fn root_is_given_up_for_good(signals: &Signals) {
    assert!(process::drop_privileges("no such user", "daemon").is_err());
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let worker = process::fork_worker(|| {
        process::drop_privileges("daemon", "daemon").unwrap();
        let daemon = process::find_user("daemon").unwrap();
        let group = process::find_group("daemon").unwrap();
        let dropped = nix::unistd::getresuid().unwrap();
        assert!([dropped.real, dropped.effective, dropped.saved].iter().all(|uid| *uid == daemon));
        assert_eq!(nix::unistd::getgroups().unwrap(), [group]);
        assert!(nix::unistd::setuid(0.into()).is_err());
        0
    })
    .unwrap();
    assert_eq!(end(signals), Ended::Exited(worker, 0));
}

fn sockets_go_to_the_next_program(signals: &Signals) {
    let directory = tempfile::tempdir().unwrap();
    let unix = Address::Unix(directory.path().join("socket"));
    let tcp = listen::bind(&Address::Inet("127.0.0.1:0".parse().unwrap()), &listen::Options::default());
    let sockets = [tcp.unwrap(), listen::bind(&unix, &listen::Options::default()).unwrap()];
    let passed = inherited::Passed::new(sockets.iter().map(AsFd::as_fd).collect()).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    // A number that is not open is refused, and the rest still works.
    let variable = format!("{}999;", passed.variable());
    let mut child = command.arg("answer-inherited").env(inherited::VARIABLE, variable).spawn().unwrap();
    drop(passed);
    let flags = nix::fcntl::fcntl(&sockets[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, libc::FD_CLOEXEC);

    let [tcp, keep_unix] = sockets;
    let address = TcpListener::from(tcp).local_addr().unwrap();
    drop(keep_unix);
    let mut answer = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("{address}, {unix}, 1 refused"));
    assert!(child.wait().unwrap().success());
    assert!(signals.wait(Some(Duration::from_secs(5))).unwrap().is_some());
}

/// Runs in the new program: tells the first client what was inherited.
fn answer_inherited() {
    let found = inherited::take();
    let names: Vec<_> = found.sockets.iter().map(|(address, _)| address.to_string()).collect();
    assert!(inherited::take().sockets.is_empty());
    let (_, socket) = found.sockets.into_iter().next().unwrap();
    assert!(socket.as_raw_fd() > 2);
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(false).unwrap();
    let (mut client, _) = listener.accept().unwrap();
    write!(client, "{}, {} refused", names.join(", "), found.refused.len()).unwrap();
}

fn a_process_with_threads_does_not_fork() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receiver.recv());
    assert!(process::fork_worker(|| 0).is_err());
    drop(sender);
    let _ = thread.join();
}

fn end(signals: &Signals) -> Ended {
    for _ in 0..100 {
        if let Some(end) = process::reap().unwrap() {
            return end;
        }
        signals.wait(Some(Duration::from_millis(100))).unwrap();
    }
    panic!("no worker has ended");
}
