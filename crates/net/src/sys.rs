//! The system calls that have no safe wrapper elsewhere: the project's only unsafe code, each block with its reason.
#![allow(unsafe_code, reason = "this is the one file for system calls; each block says why it is sound")]

use crate::socket::TcpInfo;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::{ForkResult, Pid};
use std::io::{self, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Sets a socket option whose value is an `int`.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which lives through the call; the kernel only reads it.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    Errno::result(done)?;
    Ok(())
}

/// What the kernel knows of a TCP connection.
pub(crate) fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `info`, and `length` itself.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(done)?;
    // SAFETY: `tcp_info` consists of integers, for which every bit pattern is valid, and all of it was zeroed.
    let info = unsafe { info.assume_init() };
    Ok(TcpInfo {
        rtt: info.tcpi_rtt,
        rttvar: info.tcpi_rttvar,
        snd_cwnd: info.tcpi_snd_cwnd,
        rcv_space: info.tcpi_rcv_space,
    })
}

/// The kernel's SCM_MAX_FD: descriptors in one message.
const MOST_FILES: usize = 253;

/// Receives at most `bytes.len()` bytes and `max` descriptors (closed on exec) from a unix socket. An error if more
/// descriptors came than `max`; those that arrived are closed then.
pub(crate) fn receive(fd: BorrowedFd<'_>, bytes: &mut [u8], max: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MOST_FILES]);
    let mut slices = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(fd.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    // There is room for as many as a message can hold, so the list is never cut off,
    // unless this process may open no more files; then the call fails, and what it had got stays open and unused.
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nothing else owns them.
            fds.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    if fds.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more descriptors than announced"));
    }
    Ok((message.bytes, fds))
}

/// Takes over descriptors that this process got from the one that started it. Works once; each number may occur once.
pub(crate) fn adopt(numbers: &[RawFd]) -> Vec<(RawFd, io::Result<OwnedFd>)> {
    static ADOPTED: AtomicBool = AtomicBool::new(false);
    if ADOPTED.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let adopt_one = |(index, raw): (usize, &RawFd)| {
        // SAFETY: asks for flags only; an invalid number is an error, not undefined behaviour.
        let flags = Errno::result(unsafe { libc::fcntl(*raw, libc::F_GETFD) })?;
        let seen = numbers.iter().take(index).any(|earlier| earlier == raw);
        if *raw <= libc::STDERR_FILENO || flags & libc::FD_CLOEXEC != 0 || seen {
            return Err(io::Error::other("not an inherited descriptor"));
        }
        // SAFETY: it is open and survived the exec that started this program: whatever this program opens is closed on
        // exec. So it has no owner here yet, and gets no second one: this runs once, and takes each number once.
        Ok(unsafe { OwnedFd::from_raw_fd(*raw) })
    };
    numbers.iter().enumerate().map(|one| (*one.1, adopt_one(one))).collect()
}

/// Makes a second process. Refused unless this one has a single thread.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("fork() of a process with several threads"));
    }
    // SAFETY: with a single thread (seen above; nobody else can start one meanwhile) no lock is held by a thread that
    // the child does not have, so the child may do whatever the parent may.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => Ok(None),
    }
}

/// Waits for one of the blocked signals in `set`: its number and who sent it. `None` when the time is over.
pub(crate) fn wait_signal(set: &SigSet, timeout: Option<Duration>) -> io::Result<Option<(i32, i32)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let limit = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all three pointers are to live values of the right type, or null where the call allows it.
    let signal = unsafe { libc::sigtimedwait(set.as_ref(), info.as_mut_ptr(), limit) };
    match Errno::result(signal) {
        Ok(signal) => {
            // SAFETY: zeroed and then filled in by the kernel; `si_pid` is an integer within, valid whatever it holds.
            let from = unsafe { info.assume_init().si_pid() };
            Ok(Some((signal, from)))
        }
        // Interrupted by a signal that is not in the set: nothing has come, the caller looks around and waits again.
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The moment in the machine's time zone.
pub(crate) fn local_time(unix: u64) -> crate::clock::Local {
    let seconds = libc::time_t::try_from(unix).unwrap_or(0);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values of the right types; localtime_r writes only `parts`, for which every bit
    // pattern made of zeroes is a value, so that it may be read even where the call failed.
    let parts = unsafe {
        libc::localtime_r(&raw const seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    crate::clock::Local {
        year: parts.tm_year + 1900,
        month: parts.tm_mon as u32 + 1,
        day: parts.tm_mday as u32,
        hour: parts.tm_hour as u32,
        minute: parts.tm_min as u32,
        second: parts.tm_sec as u32,
        offset: parts.tm_gmtoff,
    }
}
