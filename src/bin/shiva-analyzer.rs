//! shiva-analyzer(8).

fn main() -> std::process::ExitCode {
    shiva::cli::analyzer()
}
