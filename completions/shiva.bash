# Completion in bash for shiva, shiva-receiver, shiva-analyzer and shiva-dbcreate.
#
# It is installed under the name of each of them and needs the package bash-completion.
# shellcheck shell=bash

_shiva() {
    local cur prev words cword split
    _init_completion -s || return

    case $prev in
        --config)
            _filedir
            return
            ;;
        --dir)
            _filedir -d
            return
            ;;
        --channel)
            local channels='shiva.parsed shiva.ip.url shiva.raw shiva.attachments'
            mapfile -t COMPREPLY < <(compgen -W "$channels" -- "$cur")
            return
            ;;
    esac
    $split && return

    local options='--config --check-config --help' operands='' command=''
    case ${words[0]##*/} in
        shiva-receiver) options+=' --version' ;;
        shiva-dbcreate) options+=' --dry-run --version' ;;
        shiva-analyzer) options+=' --once --version' ;;
        shiva)
            command=$(_shiva_command)
            case $command in
                '')
                    options+=' --version'
                    operands='report show relay probes import pseudonym subscribe parse help'
                    ;;
                report) options+=' --json' ;;
                show) options+=' --json --raw' ;;
                relay)
                    options+=' --json'
                    operands='off on'
                    ;;
                probes) options+=' --json' ;;
                pseudonym) options+=' --reverse' ;;
                subscribe) options+=' --channel --dir --json --store' ;;
                help)
                    options=''
                    operands='report show relay probes import pseudonym subscribe parse'
                    ;;
            esac
            ;;
    esac

    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ $command == import || $command == parse ]]; then
        _filedir
    else
        mapfile -t COMPREPLY < <(compgen -W "$operands" -- "$cur")
    fi
}

# The command that stands before the cursor: the first word that is neither an option nor the
# file of --config. No command's option can stand before it.
_shiva_command() {
    local at
    for ((at = 1; at < cword; at++)); do
        case ${words[at]} in
            --config) ((at++)) ;;
            -*) ;;
            *)
                echo "${words[at]}"
                return
                ;;
        esac
    done
}

complete -F _shiva shiva shiva-receiver shiva-analyzer shiva-dbcreate
