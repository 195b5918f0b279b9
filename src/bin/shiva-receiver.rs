//! shiva-receiver(8).

fn main() -> std::process::ExitCode {
    shiva::cli::receiver()
}
