# fish completion for invoke, with values from buildkit-tasks: invoke completion fish | source
function __invoke_buildkit_tasks
    set -l words (commandline -opc)
    set -l program $words[1]
    set -l previous $words[-1]
    test "$previous" = -s; and set previous --service
    switch $previous
        case --service --platform --profile --mount --shell --progress
            $program completion fish --values $previous 2>/dev/null
        case completion
            printf '%s\n' bash zsh fish
        case '*'
            $program --complete -- (string join ' ' $words (commandline -ct)) 2>/dev/null
    end
end
complete --command invoke --no-files --arguments '(__invoke_buildkit_tasks)'
complete --command inv --no-files --arguments '(__invoke_buildkit_tasks)'
