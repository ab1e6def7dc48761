//! Memory per idle connection: many clients ask once over the proxy, then keep silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::Outcome;
use crate::backend::Backend;
use crate::rows::{self, Row};
use crate::server::{Gateway, Server};

/// Prints the growth of resident memory per connection, after every connection had one answer.
pub(crate) fn compare(contestants: &[Gateway], backend: &Backend, connections: usize) -> Outcome<()> {
    println!("\n{connections} idle connections, resident memory");
    let row = rows::ALL.iter().find(|row| row.name == "proxy").ok_or("no row proxy")?;
    for gateway in contestants {
        let server = Server::start(gateway, row.http, row.bearer, &backend.ports)?;
        server.answers(row)?;
        let before = server.process.memory()?;
        let clients: Vec<TcpStream> =
            (0..connections).map(|_| ask_once(&server, row)).collect::<Outcome<_>>()?;
        thread::sleep(Duration::from_secs(1));
        let after = server.process.memory()?;
        let each = (after.saturating_sub(before)) as f64 / clients.len() as f64 / 1024.0;
        println!(
            "{:8}  {:6.1} MB before  {:6.1} MB after  {each:6.2} kB per connection",
            gateway.kind.name(),
            before as f64 / 1e6,
            after as f64 / 1e6
        );
    }
    Ok(())
}

fn ask_once(server: &Server, row: &Row) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: example.com\r\n\r\n", row.path)?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    if answer.get(..read).is_some_and(|head| head.starts_with(b"HTTP/1.1 200")) {
        return Ok(stream);
    }
    Err("an idle connection got another answer than 200".into())
}
