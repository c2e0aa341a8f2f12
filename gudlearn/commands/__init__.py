"""The command line: ``gudlearn fit data.csv -o model.gud``, and what follows from it."""
