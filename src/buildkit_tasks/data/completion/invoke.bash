# bash completion for invoke, with values from buildkit-tasks: source <(invoke completion bash)
# Tasks and flags come from invoke itself, and values of options from `invoke completion bash --values OPTION`.
_invoke_buildkit_tasks() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} program=${COMP_WORDS[0]}
    # readline splits at = by default
    if [ "$current" = "=" ]; then current=; elif [ "$previous" = "=" ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi
    case $previous in
        -s) previous=--service ;;
    esac
    case $previous in
        --service|--platform|--profile|--mount|--shell|--progress)
            local known head=
            known=$("$program" completion bash --values "$previous" 2>/dev/null)
            # a comma list: complete its last part
            case $current in *,*) head=${current%,*},; current=${current##*,} ;; esac
            mapfile -t COMPREPLY < <(compgen -P "$head" -W "$known" -- "$current")
            return ;;
    esac
    if [ "$previous" = completion ]; then
        mapfile -t COMPREPLY < <(compgen -W "bash zsh fish" -- "$current")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$("$program" --complete -- "${COMP_WORDS[*]}" 2>/dev/null)" -- "$current")
}
complete -F _invoke_buildkit_tasks -o default invoke inv
