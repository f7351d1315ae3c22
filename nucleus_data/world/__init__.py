from nucleus_data.world.alt_texts import AltText, alt_text
from nucleus_data.world.demo import Planted, write_demo
from nucleus_data.world.painting import render
from nucleus_data.world.scenes import Scene, Shape, scene
from nucleus_data.world.words import captions
