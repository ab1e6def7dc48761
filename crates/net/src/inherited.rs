//! Listening sockets passed from one program to the next by number, in nginx's way: `NGINX="3;4;"`.

use crate::address::Address;
use crate::sys;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{SockRef, Type};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The name of the environment variable, the same as nginx's, so that either can replace the other.
pub const VARIABLE: &str = "NGINX";

/// What was found in the variable.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Listening stream sockets with their addresses, closed on exec.
    pub sockets: Vec<(Address, OwnedFd)>,
    /// What could not be used, in words for the log.
    pub refused: Vec<String>,
}

/// Takes over the sockets that the environment names. Works once in the life of a process: a second call finds nothing.
/// Call it before anything else opens files.
pub fn take() -> Inherited {
    let mut found = Inherited::default();
    let Some(variable) = std::env::var_os(VARIABLE) else { return found };
    let Some(variable) = variable.to_str() else {
        found.refused.push(format!("invalid {VARIABLE} environment variable"));
        return found;
    };
    let (numbers, refused) = parse(variable);
    found.refused.extend(refused);
    for (number, taken) in sys::adopt(&numbers) {
        match taken.and_then(listening) {
            Ok(socket) => found.sockets.push(socket),
            Err(error) => found.refused.push(format!("inherited socket #{number} is ignored: {error}")),
        }
    }
    found
}

/// The numbers in the variable, each once; what follows an invalid one is ignored, as in nginx.
fn parse(variable: &str) -> (Vec<RawFd>, Option<String>) {
    let mut numbers = Vec::new();
    let mut rest = variable;
    while let Some(end) = rest.find([':', ';']) {
        let (word, after) = rest.split_at(end);
        match word.parse::<RawFd>() {
            // Standard input, output and error have owners.
            Ok(number) if number > 2 && !numbers.contains(&number) => numbers.push(number),
            _ => {
                let why = format!(
                    "invalid socket number \"{word}\" in {VARIABLE} environment variable, ignoring the rest of the variable"
                );
                return (numbers, Some(why));
            }
        }
        rest = after.get(1..).unwrap_or("");
    }
    let why = (!rest.is_empty()).then(|| {
        format!("invalid socket number \"{rest}\" in {VARIABLE} environment variable, ignoring the rest of the variable")
    });
    (numbers, why)
}

fn listening(socket: OwnedFd) -> io::Result<(Address, OwnedFd)> {
    let known = SockRef::from(&socket);
    if known.r#type()? != Type::STREAM || !known.is_listener()? {
        return Err(io::Error::other("not a listening stream socket"));
    }
    let address = Address::from_socket2(&known.local_addr()?)
        .ok_or_else(|| io::Error::other("unsupported protocol family"))?;
    known.set_nonblocking(true)?;
    known.set_cloexec(true)?;
    Ok((address, socket))
}

/// Sockets that the next program started will find open. They are closed on exec again when this is dropped.
#[derive(Debug)]
pub struct Passed<'a> {
    sockets: Vec<BorrowedFd<'a>>,
    variable: String,
}

impl<'a> Passed<'a> {
    /// Keeps `sockets` open on exec.
    pub fn new(sockets: Vec<BorrowedFd<'a>>) -> io::Result<Passed<'a>> {
        let variable = sockets.iter().map(|socket| format!("{};", socket.as_raw_fd())).collect();
        let passed = Passed { sockets, variable };
        for socket in &passed.sockets {
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(passed)
    }

    /// The value of [`VARIABLE`] for the new program.
    pub fn variable(&self) -> &str {
        &self.variable
    }
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // A descriptor that is open cannot fail this; if it did, a child would have one file too many.
            let _ = fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_until_the_first_invalid_one() {
        assert_eq!(parse("3;4;"), (vec![3, 4], None));
        assert_eq!(parse("3:14;"), (vec![3, 14], None));
        for (variable, good) in
            [("3;x;4;", vec![3]), ("3;4", vec![3]), ("3;3;", vec![3]), ("1;", vec![]), ("-1;", vec![])]
        {
            let (numbers, why) = parse(variable);
            assert_eq!((numbers, why.is_some()), (good, true), "{variable}");
        }
    }
}
