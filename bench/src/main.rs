//! Loads Doorward and nginx side by side with the same configuration and prints CPU time per request.
//!
//! `cargo run --release -p bench -- [ROW ...] [--rounds N] [--seconds S]` measures the named rows (all without names),
//! `-- --idle N` the memory of N idle connections, `-- --token` what a token costs that is new, `-- --keys` the memory of 100,000 API keys, `-- --list` names the rows. The servers share core 0 in turns;
//! wrk or h2load and the services behind the gateway have core 1.

mod backend;
mod certificates;
mod idle;
mod load;
mod options;
mod people;
mod rows;
mod server;
mod table;
mod tokens;

use std::error::Error;

use backend::Backend;
use load::{Load, Sample};
use options::Options;
use rows::Row;
use server::{Gateway, Kind, Server};

/// What anything in this program fails with: it is shown to the person who started it.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let options = Options::from_arguments()?;
    if options.list {
        for row in rows::ALL {
            println!("{:14} {}", row.name, row.what);
        }
        return Ok(());
    }
    if options.token {
        return tokens::measure(options.rounds);
    }
    server::allow_many_files()?;
    let contestants =
        [Gateway::new(Kind::Doorward, &options.doorward()?)?, Gateway::new(Kind::Nginx, &options.nginx()?)?];
    for gateway in &contestants {
        println!("{:8}  {}  {}", gateway.kind.name(), gateway.version, gateway.binary.display());
    }
    let backend = Backend::start(&options.nginx()?)?;
    if let Some(connections) = options.idle {
        return idle::compare(&contestants, &backend, connections);
    }
    if options.keys {
        return people::measure(&contestants[0], &backend);
    }
    println!("{}", table::head());
    for row in options.rows()? {
        let samples = measure(row, &contestants, &backend, &options)?;
        print!("{}", table::lines(row, &samples));
    }
    println!("{}", table::foot(&options));
    Ok(())
}

/// One row: both servers stay up, and every round loads first the one, then the other, in turns.
fn measure(
    row: &Row,
    contestants: &[Gateway; 2],
    backend: &Backend,
    options: &Options,
) -> Outcome<[Vec<Sample>; 2]> {
    let first = Server::start(&contestants[0], row.http, row.bearer, &backend.ports)?;
    let second = match row.without {
        None => Server::start(&contestants[1], row.http, row.bearer, &backend.ports)?,
        Some(http) => Server::start(&contestants[0], http, row.bearer, &backend.ports)?,
    };
    let servers = [first, second];
    for server in &servers {
        server.answers(row)?;
        // Fills pools, caches and the branch predictor before anything counts.
        Load::of(row, server).run(1)?;
    }
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            samples[which].push(Load::of(row, &servers[which]).run(options.seconds)?);
        }
    }
    Ok(samples)
}
