from nucleus_data.commands.cli import main
