//! shiva-dbcreate(8).

fn main() -> std::process::ExitCode {
    shiva::cli::dbcreate()
}
