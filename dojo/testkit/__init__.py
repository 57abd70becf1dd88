"""What tests of chapters are written with, and what a machine must have to run them."""
