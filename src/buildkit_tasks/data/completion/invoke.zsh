#compdef invoke inv
# zsh completion for invoke, with values from buildkit-tasks: source <(invoke completion zsh)
_invoke_buildkit_tasks() {
    local previous=${words[CURRENT-1]} program=${words[1]}
    local -a known
    [[ $previous == -s ]] && previous=--service
    case $previous in
        --service|--platform|--profile|--mount|--shell|--progress)
            known=(${(f)"$($program completion zsh --values $previous 2>/dev/null)"})
            _values -s , "${previous#--}" $known
            return ;;
        completion) known=(bash zsh fish) ;;
        *) known=(${(f)"$($program --complete -- "${words[*]}" 2>/dev/null)"}) ;;
    esac
    compadd -a known
}
if [[ $funcstack[1] == _invoke ]]; then _invoke_buildkit_tasks "$@"; else compdef _invoke_buildkit_tasks invoke inv; fi
