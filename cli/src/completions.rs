use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};
use moliceiro_service::stdout;

use crate::Arguments;

/// Prints completions of this command for a shell
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
Examples:
  moliceiro completions bash > ~/.local/share/bash-completion/completions/moliceiro
  moliceiro completions zsh > ~/.zfunc/_moliceiro
  moliceiro completions fish > ~/.config/fish/completions/moliceiro.fish")]
pub(crate) struct CompletionsArguments {
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(crate) fn run(arguments: &CompletionsArguments) -> anyhow::Result<ExitCode> {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Into memory: the generators panic when the output is closed.
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
