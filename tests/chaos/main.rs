//! Chaos: a cluster of real servers under a load, while servers are killed, paused, stopped and cut off
//! from each other and their disks get full; what the clients were told is checked.
//!
//! `cargo test` runs it for some seconds, `cargo test --test chaos -- --seconds 120 --seed 7` for
//! longer. The seed decides which faults come, whom they befall and how long they last; what then
//! happens in the servers is up to the machine, so a seed that failed may have to be run again some
//! times. As root on Linux the servers get a network and file systems of their own. Elsewhere the
//! faults that need them are left out, by name.

#[cfg(unix)]
mod check;
#[cfg(unix)]
mod cluster;
#[cfg(unix)]
mod faults;
#[cfg(unix)]
mod ground;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod workload;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() {
    println!("skipped: there are no signals here to kill and pause servers with");
}
