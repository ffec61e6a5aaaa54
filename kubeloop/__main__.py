"""`python -m kubeloop` is the command `kubeloop`."""

from kubeloop.actors.cli import main

if __name__ == "__main__":
    main()
