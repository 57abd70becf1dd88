"""mydocker: a Docker of your own."""
