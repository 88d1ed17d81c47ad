"""Completion in bash, zsh and fish: what may follow the words that are typed."""
