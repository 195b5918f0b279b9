//! shiva(1).

fn main() -> std::process::ExitCode {
    shiva::cli::shiva()
}
