"""Scenes of the world in other languages, for a captioner that answers in the wrong one."""

from nucleus_data.world.scenes import Scene, Shape

# Words of a language in the order of `KEYS`; nouns with what stands before them.
KEYS = "red orange yellow green blue purple white black gray teal brown pink beige"
COLORS = {
    "de": "rot orange gelb grün blau violett weiß schwarz grau türkis braun rosa beige",
    "fr": "rouge orange jaune vert bleu violet blanc noir gris turquoise brun rose beige",
    "es": "rojo naranja amarillo verde azul morado blanco negro gris turquesa marrón rosa beige",
    "ru": "красный оранжевый жёлтый зелёный синий фиолетовый белый чёрный серый бирюзовый"
    " коричневый розовый бежевый",
    "zh": "红色 橙色 黄色 绿色 蓝色 紫色 白色 黑色 灰色 青色 棕色 粉色 米色",
}
THINGS = "circle square triangle diamond ring cross star heart"
NOUNS = {
    "de": "Kreis Quadrat Dreieck Raute Ring Kreuz Stern Herz",
    "fr": "cercle carré triangle losange anneau croix étoile cœur",
    "es": "círculo cuadrado triángulo rombo anillo cruz estrella corazón",
    "ru": "круг квадрат треугольник ромб кольцо крест звезда сердце",
    "zh": "圆形 正方形 三角形 菱形 圆环 十字 星形 心形",
}
# One thing, what stands between two, the whole sentence, the background.
FRAMES = {
    "de": ("ein {size} Objekt, nämlich ein {noun} in {color}", " und ", "Hier sieht man {all}.",
           "Der Hintergrund hat die Farbe {color}."),
    "fr": ("un {size} {noun} de couleur {color}", " et ", "Il y a {all} dans cette composition.",
           "Le fond est de couleur {color}."),
    "es": ("un {size} {noun} de color {color}", " y ", "Hay {all} en la composición.",
           "El fondo es de color {color}."),
    "ru": ("{size} предмет, а именно {noun}, и его цвет {color}", "; ещё там ",
           "Здесь можно увидеть {all}.", "Цвет фона здесь {color}."),
    "zh": ("一个{size}的{color}{noun}", "和", "这里有{all}。", "背景是{color}的。"),
}  # fmt: skip
SIZES = {
    "de": ("kleines", "großes"),
    "fr": ("petit", "grand"),
    "es": ("pequeño", "gran"),
    "ru": ("маленький", "большой"),
    "zh": ("小", "大"),
}
LANGUAGES = tuple(FRAMES)


def foreign(scene: Scene, language: str) -> str:
    """A short caption of a scene in a language; its grammar is simple, its words are right."""
    one, between, whole, ground = FRAMES[language]

    def told(shape: Shape) -> str:
        noun = NOUNS[language].split()[THINGS.split().index(shape.kind)]
        size = SIZES[language][shape.size == "large"]
        return one.format(size=size, noun=noun, color=_color(shape.color, language))

    shapes = between.join(told(shape) for shape in scene.shapes)
    said = [whole.format(all=shapes), ground.format(color=_color(scene.background, language))]
    return ("" if language == "zh" else " ").join(said)


def _color(color: str, language: str) -> str:
    return COLORS[language].split()[KEYS.split().index(color)]
