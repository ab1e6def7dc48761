//! Builds the nginx that Doorward is compared with, once, and prints the path of its binary.
//!
//! `cargo run -q -p oracle` leaves it at `target/oracle/nginx`. Whoever has an nginx of their own names it in
//! `DOORWARD_ORACLE`; then nothing is built and that path is printed.

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// What the comparison needs beyond the modules that nginx builds by itself.
const MODULES: &str = "--with-http_ssl_module --with-http_v2_module --with-http_v3_module \
    --with-http_auth_request_module --with-http_realip_module --with-http_stub_status_module \
    --with-http_gunzip_module --with-http_gzip_static_module --with-http_sub_module \
    --with-http_addition_module --with-http_secure_link_module --with-http_slice_module \
    --with-http_random_index_module --with-threads";

/// The program runs itself with this argument, since nginx-src takes its settings from the environment.
const BUILD: &str = "--build-into";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == BUILD) {
        let folder = arguments.next().ok_or("--build-into wants a folder")?;
        nginx_src::build(PathBuf::from(folder))?;
        return Ok(());
    }
    println!("{}", oracle()?.display());
    Ok(())
}

/// The oracle's binary: the one the environment names, or the one that is there, or a new one.
fn oracle() -> Result<PathBuf, Box<dyn Error>> {
    if let Some(named) = env::var_os("DOORWARD_ORACLE") {
        return Ok(named.into());
    }
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).ok_or("this program is not in a target folder")?;
    let folder = target.join("oracle");
    let binary = folder.join("nginx");
    fs::create_dir_all(&folder)?;

    // Two tests may ask at once: the second waits for the first one's build.
    let lock = File::create(folder.join(".lock"))?;
    lock.lock()?;
    if !works(&binary) {
        build(&program, &folder)?;
    }
    if works(&binary) { Ok(binary) } else { Err(format!("{} does not run", binary.display()).into()) }
}

fn works(binary: &Path) -> bool {
    Command::new(binary).arg("-v").stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn build(program: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new(program)
        .arg(BUILD)
        .arg(folder)
        .env("OUT_DIR", folder)
        .env("NGX_CONFIGURE_ARGS", MODULES)
        // Only the path belongs on the standard output.
        .stdout(Stdio::from(io::stderr()))
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err("nginx was not built; it needs a C compiler, make, libpcre2-dev, zlib1g-dev and libssl-dev".into())
}
